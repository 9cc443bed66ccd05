import CBaselines
import Glibc
import Synchronization

/// The work of a read case: which blocks of which file, into which memory. Shared by its baselines.
final class BenchReads: Sendable {
    let descriptor: BenchDescriptor
    let blockSize: Int
    let offsets: [UInt64]
    let buffers: AlignedBuffers

    /// `buffers` holds one for each request in flight at a time.
    init(_ file: BenchFile, direct: Bool = false, blockSize: Int, offsets: [UInt64], buffers: AlignedBuffers) throws {
        precondition(buffers.size >= blockSize, "a buffer takes a whole block")
        descriptor = try BenchDescriptor(path: file.path, direct: direct)
        self.blockSize = blockSize
        self.offsets = offsets
        self.buffers = buffers
    }

    fileprivate func run(
        _ name: String,
        _ baseline: (UnsafePointer<baseline_reads>, UnsafeMutablePointer<baseline_result>) -> CInt
    ) throws(BenchError) -> Sample {
        var result = baseline_result()
        let status = offsets.withUnsafeBufferPointer { offsets in
            buffers.pointers.withUnsafeBufferPointer { buffers in
                var reads = baseline_reads(
                    fd: descriptor.number, block_size: UInt32(blockSize), offsets: offsets.baseAddress,
                    count: offsets.count, buffers: buffers.baseAddress, buffer_count: buffers.count)
                return baseline(&reads, &result)
            }
        }
        return try Sample(result, of: name, status: status)
    }
}

extension Contestant {
    /// A loop of pread on each of `threads` threads.
    static func pread(_ reads: BenchReads, threads: Int) -> Contestant {
        let name = threads == 1 ? "pread, 1 thread" : "pread, \(threads) threads"
        return Contestant(name) {
            try reads.run(name) { baseline_pread($0, UInt32(threads), $1) }
        }
    }

    /// An io_uring loop in C with `depth` reads in flight.
    static func cRing(_ reads: BenchReads, depth: Int, fixedBuffers: Bool = false) -> Contestant {
        let name = "C ring, depth \(depth)" + (fixedBuffers ? ", fixed buffers" : "")
        return Contestant(name) {
            try reads.run(name) { baseline_uring($0, UInt32(depth), fixedBuffers ? 1 : 0, $1) }
        }
    }

    /// Blocking open, fstat, read, close in C on `threads` threads.
    static func blockingLoads(_ files: FileList, threads: Int) -> Contestant {
        let name = "open-read-close, \(threads) threads"
        return Contestant(name) {
            var result = baseline_result()
            let status = files.paths.withUnsafeBufferPointer { paths in
                baseline_open_read_close(paths.baseAddress, paths.count, UInt32(threads), &result)
            }
            return try Sample(result, of: name, status: status)
        }
    }

    /// The same in `tasks` Swift tasks, which the global executor spreads over all cores.
    static func blockingLoads(_ files: FileList, tasks: Int) -> Contestant {
        let name = "open-read-close, \(tasks) tasks"
        return Contestant(name) {
            let tally = LoadTally()
            var sample = try await Sample.measure(operations: files.count, bytes: 0) {
                try await withThrowingTaskGroup { group in
                    for _ in 0..<tasks {
                        group.addTask { try files.loadAll(tally) }
                    }
                    try await group.waitForAll()
                }
            }
            sample.bytes = tally.bytes.load(ordering: .relaxed)
            return sample
        }
    }
}

/// What the tasks of one run share: the next file to load, and the bytes loaded.
private final class LoadTally: Sendable {
    let next = Atomic<Int>(0)
    let bytes = Atomic<UInt64>(0)
}

extension FileList {
    /// Loads the next file, each into the same buffer, until there is none left.
    fileprivate func loadAll(_ tally: LoadTally) throws(BenchError) {
        var buffer: UnsafeMutableRawPointer?
        var capacity = 0
        defer { free(buffer) }
        var bytes: UInt64 = 0
        while true {
            let index = tally.next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < count else { break }
            let loaded = baseline_load_file(paths[index], &buffer, &capacity)
            guard loaded >= 0 else { throw BenchError("cannot load \(self[index])", errno: CInt(-loaded)) }
            bytes += UInt64(loaded)
        }
        tally.bytes.wrappingAdd(bytes, ordering: .relaxed)
    }
}

extension Sample {
    init(_ result: baseline_result, of name: String, status: CInt) throws(BenchError) {
        guard status == 0 else { throw BenchError("baseline \(name)", errno: -status) }
        self.init(
            wallNanoseconds: result.wall_ns, cpuNanoseconds: result.cpu_ns, operations: result.operations,
            bytes: result.bytes)
    }
}

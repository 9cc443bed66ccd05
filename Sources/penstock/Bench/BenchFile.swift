import CBaselines
import Glibc

/// The file that read benchmarks read: of known content, on a real disk, kept for the next run.
struct BenchFile: Sendable {
    let path: String
    let size: UInt64

    /// Blocks looked at before a file found in place is trusted; with its size, its name and that it was renamed into
    /// place when complete, a wrong one does not pass by accident.
    private static let probes = 256

    /// Opens the file in `directory` (default: ``defaultDirectory()``), or makes it if it is not there or not right.
    static func prepare(in directory: String? = nil, size: UInt64 = 1 << 30) throws -> BenchFile {
        precondition(size > 0 && size.isMultiple(of: 1 << 20), "the size is a whole number of MiB")
        let directory = try directory ?? defaultDirectory()
        try makeDirectory(directory)
        let file = BenchFile(path: "\(directory)/penstock-bench-\(size >> 20)MiB.bin", size: size)
        let folder = try BenchDescriptor(path: directory, direct: false)
        if bench_file_is_in_memory(folder.number) {
            throw BenchError("\(directory) is in memory (tmpfs), not on a disk: choose another directory")
        }
        if file.isRight() { return file }
        try file.write(in: directory)
        return file
    }

    /// `$XDG_CACHE_HOME/penstock-bench`, else `~/.cache/penstock-bench`.
    static func defaultDirectory() throws(BenchError) -> String {
        // The standard says to ignore a relative path.
        if let cache = getenv("XDG_CACHE_HOME"), cache[0] == CChar(UInt8(ascii: "/")) {
            return String(cString: cache) + "/penstock-bench"
        }
        if let home = getenv("HOME"), home[0] != 0 { return String(cString: home) + "/.cache/penstock-bench" }
        throw BenchError("neither XDG_CACHE_HOME nor HOME is set: name a directory for the benchmark file")
    }

    /// `count` offsets, each a multiple of `blockSize` with a whole block after it.
    func randomOffsets(count: Int, blockSize: Int, seed: UInt64) -> [UInt64] {
        let blocks = size / UInt64(blockSize)
        precondition(blocks > 0, "the file is smaller than a block")
        var random = SplitMix64(seed: seed)
        return (0..<count).map { _ in UInt64.random(in: 0..<blocks, using: &random) * UInt64(blockSize) }
    }

    /// Has the size and, where probed, the content that it should have.
    private func isRight() -> Bool {
        guard let descriptor = try? BenchDescriptor(path: path, direct: false),
            lseek(descriptor.number, 0, SEEK_END) == off_t(size)
        else { return false }
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { block.deallocate() }
        let random = randomOffsets(count: Self.probes, blockSize: block.count, seed: size)
        return ([0, size - UInt64(block.count)] + random).allSatisfy { offset in
            pread(descriptor.number, block.baseAddress, block.count, off_t(offset)) == block.count
                && BenchContent.matches(UnsafeRawBufferPointer(block), at: offset)
        }
    }

    private static func makeDirectory(_ path: String) throws(BenchError) {
        var prefix = path.hasPrefix("/") ? "/" : ""
        for component in path.split(separator: "/") {
            prefix += component + "/"
            guard mkdir(prefix, 0o755) == 0 || errno == EEXIST else {
                throw BenchError("cannot create \(prefix)", errno: errno)
            }
        }
    }
}

/// An open file that closes itself.
final class BenchDescriptor: Sendable {
    let number: CInt

    /// Opens `path` for reading, with O_DIRECT if `direct`.
    init(path: String, direct: Bool) throws(BenchError) {
        number = bench_file_open(path, direct)
        guard number >= 0 else {
            throw BenchError("cannot open \(path)\(direct ? " with O_DIRECT" : "")", errno: -number)
        }
    }

    deinit {
        close(number)
    }
}

import ArgumentParser
import Glibc
import Penstock
import SystemPackage

struct BenchRead: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "read",
        abstract: "Reads against pread, a C io_uring loop and blocking loads.")

    @OptionGroup var options: BenchOptions

    @Option(help: ArgumentHelp("Run only the cases whose name contains this.", valueName: "text"))
    var only: String?

    @Option(help: ArgumentHelp("The tree whose files are loaded.", valueName: "path"), completion: .directory)
    var tree = "/usr/share"

    func run() async throws {
        let session = try BenchSession(options, warm: true)
        for make in warmCases(session) + directCases(session) + [loads()] {
            guard only == nil || make.name.contains(only!), !Interrupt.isRequested else { continue }
            try await session.run(make.build())
        }
        if only == nil || "allocations".contains(only!) { try await reportAllocations(session) }
        if only == nil || "100,000 concurrent reads".contains(only!) { try await reportConcurrency(session) }
    }

    /// A case that sets itself up only when it is its turn: its queue and buffers are no burden on the others.
    struct LazyCase {
        let name: String
        let build: () async throws -> BenchCase
    }

    // MARK: Warm page cache

    private func warmCases(_ session: BenchSession) -> [LazyCase] {
        let file = session.file
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        /// Enough operations for a tenth of a second or more on each side.
        func offsets(_ size: Int) -> [UInt64] {
            file.randomOffsets(
                count: size <= 4096 ? 131_072 : size <= 65536 ? 16384 : 1024, blockSize: size, seed: session.seed)
        }
        func reads(_ size: Int, _ depth: Int) throws -> BenchReads {
            try BenchReads(
                file, blockSize: size, offsets: offsets(size), buffers: AlignedBuffers(count: depth, size: size))
        }
        func queue(
            _ size: Int, _ depth: Int, _ configure: (inout StorageQueue.Configuration) -> Void = { _ in }
        ) async throws -> QueueReads {
            try await QueueReads(file, blockSize: size, offsets: offsets(size), depth: depth, configure)
        }
        func inline(_ title: String, _ size: Int, _ tasks: Int) -> LazyCase {
            LazyCase(name: title) {
                let (reads, queue) = (try reads(size, tasks), try await queue(size, tasks))
                return BenchCase(
                    title, subject: Contestant("penstock") { try await queue.tasks() },
                    baselines: [
                        .init(.pread(reads, threads: cores), target: 0.9), .init(.pread(reads, threads: 1)),
                        .init(.cRing(reads, depth: tasks)),
                    ])
            }
        }
        func ring(
            _ title: String, target: Double, _ run: @escaping @Sendable (QueueReads) async throws -> Sample
        ) -> LazyCase {
            LazyCase(name: title) {
                let reads = try reads(4096, 128)
                let queue = try await queue(4096, 128) {
                    $0.inlineLimit = 0
                    $0.driver = .ioUring
                }
                return BenchCase(
                    title, subject: Contestant("penstock") { try await run(queue) },
                    baselines: [
                        .init(.cRing(reads, depth: 128), target: target), .init(.pread(reads, threads: 1)),
                        .init(.pread(reads, threads: cores)),
                    ])
            }
        }
        func threads(_ title: String, inlineLimit: Int, target: Double?) -> LazyCase {
            LazyCase(name: title) {
                let reads = try reads(65536, 32)
                let queue = try await queue(65536, 32) {
                    $0.driver = .threads()
                    $0.inlineLimit = inlineLimit
                }
                return BenchCase(
                    title, subject: Contestant("penstock") { try await queue.tasks() },
                    baselines: [.init(.pread(reads, threads: cores), target: target), .init(.pread(reads, threads: 1))])
            }
        }
        return [
            inline("4 KiB, 128 tasks, inline path", 4096, 128),
            LazyCase(name: "4 KiB, 1 task, inline path") {
                let (reads, queue) = (try reads(4096, 1), try await queue(4096, 1))
                return BenchCase(
                    "4 KiB, 1 task, inline path", figure: .time,
                    subject: Contestant("penstock") { try await queue.tasks() },
                    baselines: [.init(.pread(reads, threads: 1), target: 1 / 1.3)])
            },
            inline("64 KiB, 32 tasks, inline path", 65536, 32),
            inline("1 MiB, 32 tasks, inline path", 1 << 20, 32),
            ring("4 KiB, perform of 128, ring, on the queue's executor", target: 0.85) {
                try await $0.batches(on: .queue)
            },
            ring("4 KiB, perform of 128, ring, on the global executor", target: 0.85) {
                try await $0.batches(on: .global)
            },
            LazyCase(name: "4 KiB, batches of 128, C interface") {
                let host = try HostReads(file, blockSize: 4096, offsets: offsets(4096), depth: 128)
                // Which reads on its caller's thread, as a call that must not enter the kernel cannot.
                let inline = try await queue(4096, 128) { $0.driver = .ioUring }
                let queue = try await queue(4096, 128) {
                    $0.inlineLimit = 0
                    $0.driver = .ioUring
                }
                return BenchCase(
                    "4 KiB, batches of 128, C interface", subject: Contestant("penstock") { try await host.batches() },
                    baselines: [
                        .init(Contestant("perform") { try await queue.batches(on: .global) }, target: 0.9),
                        .init(Contestant("perform, executor") { try await queue.batches(on: .queue) }),
                        .init(Contestant("perform, inline") { try await inline.batches(on: .global) }),
                    ])
            },
            ring("4 KiB, 128 tasks, ring, on the queue's executor", target: 0.65) { try await $0.tasks(on: .queue) },
            ring("4 KiB, 128 tasks, ring, on the global executor", target: 0.35) { try await $0.tasks() },
            threads("64 KiB, 32 tasks, thread pool, inline off", inlineLimit: 0, target: 0.8),
            threads("64 KiB, 32 tasks, thread pool, as configured", inlineLimit: 1 << 20, target: 0.8),
        ]
    }

    // MARK: Direct

    private func directCases(_ session: BenchSession) -> [LazyCase] {
        let title = "O_DIRECT 4 KiB neighbours, perform of 128 (merged)"
        let neighbours = LazyCase(name: title) {
            let offsets = (0..<32768).map { UInt64($0 * 4096) % session.file.size }
            let reads = try BenchReads(
                session.file, direct: true, blockSize: 4096, offsets: offsets,
                buffers: AlignedBuffers(count: 128, size: 4096))
            let queue = try await QueueReads(
                session.file, blockSize: 4096, offsets: offsets, depth: 128, caching: .direct)
            return BenchCase(
                title, subject: Contestant("penstock") { try await queue.batches(on: .global) },
                baselines: [.init(.cRing(reads, depth: 128))])
        }
        return [neighbours]
            + [(65536, "64 KiB", 8192), (1 << 20, "1 MiB", 512)].map { size, name, count in
                let title = "O_DIRECT \(name), depth 32"
                return LazyCase(name: title) {
                    let offsets = session.file.randomOffsets(count: count, blockSize: size, seed: session.seed)
                    let reads = try BenchReads(
                        session.file, direct: true, blockSize: size, offsets: offsets,
                        buffers: AlignedBuffers(count: 32, size: size))
                    let queue = try await QueueReads(
                        session.file, blockSize: size, offsets: offsets, depth: 32, caching: .direct)
                    return BenchCase(
                        title, subject: Contestant("penstock, 32 tasks") { try await queue.tasks() },
                        baselines: [.init(.cRing(reads, depth: 32), target: 0.95), .init(.pread(reads, threads: 1))])
                }
            }
    }

    // MARK: Whole files

    private func loads() -> LazyCase {
        LazyCase(name: "load of 20,000 files, 32 tasks") {
            let files = FileList.regularFiles(under: tree, limit: 20000)
            guard files.count > 0 else { throw BenchError("no readable files under \(tree)") }
            let paths = (0..<files.count).map { FilePath(files[$0]) }
            let queue = try StorageQueue()
            return BenchCase(
                "load of \(Units.count(UInt64(files.count))) files, 32 tasks",
                subject: Contestant("penstock load") { try await Self.load(paths, on: queue, tasks: 32) },
                baselines: [
                    .init(.blockingLoads(files, tasks: 32), target: 1.0), .init(.blockingLoads(files, threads: 1)),
                ])
        }
    }

    private static func load(_ paths: [FilePath], on queue: StorageQueue, tasks: Int) async throws -> Sample {
        let cursor = Cursor()
        var sample = try await Sample.measure(operations: paths.count, bytes: 0) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<tasks {
                    group.addTask {
                        var bytes = 0
                        while let index = cursor.next(below: paths.count) {
                            bytes += try await queue.load(paths[index]).count
                        }
                        cursor.add(bytes)
                    }
                }
                try await group.waitForAll()
            }
        }
        sample.bytes = cursor.bytes
        return sample
    }
}

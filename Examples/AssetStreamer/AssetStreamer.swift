import ArgumentParser
import Glibc
import Logging
import Penstock
import PenstockVulkan
import SystemPackage

/// # Asset Streamer
///
/// Streams every file below some directories through a Penstock queue into the buffers of a GPU, or into host memory, the
/// way a game streams its assets, and checks what arrived against plain blocking reads. Packs a directory into an archive
/// first, if asked to, and streams that as well:
///
///     swift run -c release asset-streamer                      # --packed /usr/share
///     swift run -c release asset-streamer --to host --caching direct ~/Games
///
/// How it is made, in the order in which to read it:
///
/// - `Streamer`: the part to copy. A bounded task group that loads small files whole and large ones in chunks.
/// - `Streamer+GPU`, `BufferRing`, `Destination`: the same into a few large GPU buffers, and back out of them.
/// - `PackedFolder`, `PackedStreamer`, `Comparison`: the same from an archive, many files with one call.
/// - `Streamer+Verify`: how a wrong byte, a short read or a mix-up is told from a file that someone is writing.
/// - `FileWalk`, `PlainRead`, `BlockingThreads`: the blocking world, kept off the threads that Swift's tasks share.
/// - `Report`, `Progress`, `Interrupt`: what people see.
@main
struct AssetStreamer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "asset-streamer",
        abstract: "Stream every file below some directories through a Penstock queue and verify each.",
        discussion: "Exit status: 0 if every readable file was verified, 1 if one was not, 130 after Ctrl-C."
    )

    @Argument(
        help: "Files and directories; symbolic links below them are not followed. None: --packed /usr/share.")
    var paths: [String] = []

    @Flag(help: "Pack the directory into an archive, kept in the cache, and stream both; packed files are verified.")
    var packed = false

    @Option(help: "Where the files go; auto: to the GPU if a Vulkan device, even a software one, is there.")
    var to = Destination.Choice.auto

    @Option(help: "Requests in flight, at most: 2 through 4096.")
    var queueDepth = 256

    @Option(help: "Files streamed at a time: 1 through 256.")
    var tasks = 32

    @Option(help: "How the page cache is used.")
    var caching = StorageFile.Caching.automatic

    @Option(help: "Which driver moves the bytes.")
    var driver = Driver.automatic

    @Flag(inversion: .prefixedNo, help: "Check each file against a plain read.")
    var verify = true

    @Flag(help: "Log what the queue does, to standard error.")
    var verbose = false

    mutating func validate() throws {
        if paths.isEmpty {
            paths = ["/usr/share"]
            packed = true
        }
        guard !packed || paths.count == 1 else { throw ValidationError("--packed takes one directory") }
        guard (2...4096).contains(queueDepth) else {
            throw ValidationError("--queue-depth must be from 2 through 4096")
        }
        guard (1...256).contains(tasks) else { throw ValidationError("--tasks must be from 1 through 256") }
        for path in paths where access(path, F_OK) != 0 {
            throw ValidationError("\(path): \(Errno(rawValue: errno))")
        }
    }

    func run() async throws {
        var configuration = StorageQueue.Configuration()
        configuration.name = "asset-streamer"
        configuration.driver = driver.choice
        configuration.requestsInFlight = queueDepth
        // Every limit of the queue is one: this program's host memory stays below a quarter of a gigabyte, and so do its
        // GPU buffers, whatever it streams.
        configuration.hostMemoryLimit = 256 << 20

        var logger = Logger(label: "asset-streamer", factory: StreamLogHandler.standardError(label:))
        logger.logLevel = verbose ? .debug : .warning

        let destination = try Destination(to)
        if packed { return try await compare(configuration, logger, destination) }
        let report = try await withStorageQueue(configuration, logger: logger) { queue in
            let ring = try destination.makeRing()
            return await stopOnInterrupt { await stream(through: queue, to: destination, ring) }
        }
        report.print()
        if report.wasStopped { throw ExitCode(130) }
        if !report.isGood { throw ExitCode.failure }
    }

    private func stream(
        through queue: StorageQueue, to destination: Destination, _ ring: BufferRing?
    ) async -> Report {
        let roots = paths.map { FilePath($0) }
        let progress = Progress()
        // Both end with this function: leaving it cancels them.
        async let _ = progress.survey(roots)
        async let _ = progress.show()

        let streamer = Streamer(
            queue: queue, ring: ring, caching: caching, tasks: tasks, verifies: verify, progress: progress)
        let start = ContinuousClock.now
        var report = await streamer.stream(roots)
        report.duration = ContinuousClock.now - start
        report.statistics = await queue.statistics
        report.driver = queue.capabilities.driverInWords
        report.destination = destination.inWords(queue.capabilities)
        report.readsBack = verify && ring != nil
        report.roots = paths
        report.verifies = verify
        report.wasStopped = Task.isCancelled
        return report
    }
}

extension AssetStreamer {
    /// Streams the files as they are and packed, and then the packed ones again to verify them.
    private func compare(
        _ configuration: StorageQueue.Configuration, _ logger: Logger, _ destination: Destination
    ) async throws {
        let folder = FilePath(paths[0])
        let comparison = try await withStorageQueue(configuration, logger: logger) { queue in
            let ring = try destination.makeRing()
            return try await stopOnInterrupt {
                await Result { try await compare(folder, on: queue, destination, ring) }
            }.get()
        }
        comparison.print()
        if comparison.wasStopped { throw ExitCode(130) }
        if !comparison.isGood { throw ExitCode.failure }
    }

    private func compare(
        _ folder: FilePath, on queue: StorageQueue, _ destination: Destination, _ ring: BufferRing?
    ) async throws -> Comparison {
        func timed(_ body: (Progress) async -> Report) async -> Report {
            let progress = Progress()
            async let _ = progress.show()
            let start = ContinuousClock.now
            var report = await body(progress)
            report.duration = ContinuousClock.now - start
            return report
        }
        let packing = Progress()
        async let _ = packing.show()
        let packed = try await PackedFolder.prepare(folder, on: queue, packing)
        func stream(verifying: Bool) async -> Report {
            await timed { progress in
                await PackedStreamer(
                    packed: packed, ring: ring, tasks: tasks, verifies: verifying, progress: progress
                ).stream()
            }
        }
        var comparison = Comparison(packed: packed)
        for source in Comparison.Source.allCases where !Task.isCancelled {
            if source == .disk { await packed.forgetPages() }
            let loose = await timed { progress in
                await Streamer(
                    queue: queue, ring: ring, caching: caching, tasks: tasks, verifies: false, progress: progress
                ).stream([folder])
            }
            comparison.add(source, loose: loose, packed: await stream(verifying: false))
        }
        if verify {
            comparison.verification = await stream(verifying: true)
            comparison.verification?.readsBack = ring != nil
        }
        comparison.driver = queue.capabilities.driverInWords
        comparison.destination = destination.inWords(queue.capabilities)
        comparison.wasStopped = Task.isCancelled
        return comparison
    }
}

extension Result where Failure == any Error {
    /// What the body returns or throws.
    fileprivate init(_ body: () async throws -> Success) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}

extension Capabilities {
    /// The driver, and why it is not the best one if it is not.
    fileprivate var driverInWords: String {
        guard let driver = self["driver"] else { return driver.rawValue }
        return driver.rung + (driver.reason.map { " (\($0))" } ?? "")
    }
}

extension StorageFile.Caching: ExpressibleByArgument {}

/// The drivers to choose from.
enum Driver: String, CaseIterable, ExpressibleByArgument {
    case automatic
    case ioUring = "io_uring"
    case threads

    var choice: StorageQueue.Configuration.DriverChoice {
        switch self {
        case .automatic: .automatic
        case .ioUring: .ioUring
        case .threads: .threads()
        }
    }
}

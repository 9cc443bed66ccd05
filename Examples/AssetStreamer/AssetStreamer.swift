import ArgumentParser
import Glibc
import Logging
import Penstock
import PenstockVulkan
import SystemPackage

/// # Asset Streamer
///
/// Streams every file below some directories through a Penstock queue into the buffers of a GPU, or into host memory, the
/// way a game streams its assets, and checks what arrived against plain blocking reads:
///
///     swift run -c release asset-streamer                      # /usr/share
///     swift run -c release asset-streamer --to host --caching direct ~/Games
///
/// How it is made, in the order in which to read it:
///
/// - `Streamer`: the part to copy. A bounded task group that loads small files whole and large ones in chunks.
/// - `Streamer+GPU`, `BufferRing`, `Destination`: the same into a few large GPU buffers, and back out of them.
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

    @Argument(help: "Files and directories; symbolic links below them are not followed.")
    var paths = ["/usr/share"]

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

    func validate() throws {
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
        let report = try await withStorageQueue(configuration, logger: logger) { queue in
            let ring = if case .gpu(let device) = destination { try BufferRing(on: device) } else { BufferRing?.none }
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

import CTestShims
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import Penstock

/// io_uring refused: by a seccomp filter, as in a container, on a thread of its own so that nobody else is concerned.
@Suite(.timeLimit(.minutes(10))) struct Refusals {
    /// What a thread under the filter did.
    private final class Attempt: Sendable {
        let refusal: Int32
        let driver: StorageQueue.Configuration.DriverChoice
        let filtered = Atomic<Int32>(-1)
        let result = Locked<Result<StorageQueue, StorageError>?>(nil)

        init(_ refusal: Int32, _ driver: StorageQueue.Configuration.DriverChoice) {
            self.refusal = refusal
            self.driver = driver
        }

        /// Runs on the filtered thread; the queue's threads, which it starts, inherit the filter.
        func make() {
            filtered.store(test_refuse_io_uring(refusal), ordering: .relaxed)
            var configuration = StorageQueue.Configuration()
            configuration.driver = driver
            let made: Result<StorageQueue, StorageError>
            do throws(StorageError) { made = .success(try StorageQueue(configuration)) } catch {
                made = .failure(error)
            }
            result.withLock { $0 = made }
        }
    }

    private func queue(
        where refusal: Int32, _ driver: StorageQueue.Configuration.DriverChoice
    ) throws -> Result<StorageQueue, StorageError> {
        let attempt = Attempt(refusal, driver)
        var thread = pthread_t()
        let started = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Attempt>.fromOpaque(argument!).takeRetainedValue().make()
                return nil
            }, Unmanaged.passRetained(attempt).toOpaque())
        try #require(started == 0)
        pthread_join(thread, nil)
        let filtered = attempt.filtered.load(ordering: .relaxed)
        try #require(filtered == 0, "installing the seccomp filter failed with errno \(-filtered)")
        return attempt.result.withLock { $0! }
    }

    @Test(arguments: [EPERM, ENOSYS, EACCES])
    func automaticFallsBackToThreadsAndNamesTheCause(_ refusal: Int32) async throws {
        let queue = try queue(where: refusal, .automatic).get()
        #expect(queue.capabilities.driver == .threads)
        let feature = try #require(queue.capabilities["driver"])
        #expect(!feature.isAvailable && feature.rung.contains("threads"))
        let reason = try #require(feature.reason)
        #expect(reason.contains("seccomp") && reason.contains("errno \(refusal)"), "\(reason)")
        #expect(feature.advice?.contains("io_uring_setup") == true)
        #expect("\(queue.capabilities)".contains(reason))
        let directory = TemporaryDirectory()
        let path = directory.make("file", count: 3 << 20)
        dropFromCache(path)
        let loaded = try await queue.load(path)
        #expect(loaded.count == 3 << 20 && FilePattern().matches(loaded))
        #expect(await queue.statistics.driver == .threads)
        await queue.shutdown()
    }

    @Test(arguments: [EPERM, ENOSYS])
    func ioUringAloneIsAnErrorThatSaysWhyNot(_ refusal: Int32) throws {
        guard case .failure(let error) = try queue(where: refusal, .ioUring) else {
            Issue.record("io_uring, in spite of the filter")
            return
        }
        #expect(error.code == .unavailable && error.operation == .setUp && error.errno?.rawValue == refusal)
        #expect(error.message.contains("io_uring_setup") && error.message.contains("seccomp"), "\(error)")
    }

    @Test func ioUringWorksHereAndSaysSo() async throws {
        // Not a skip: this project's machines have io_uring, and a silent fallback would test half of what it claims.
        try await withStorageQueue { queue in
            #expect(queue.capabilities.driver == .ioUring)
            #expect(queue.capabilities["driver"]?.isAvailable == true)
            #expect(queue.capabilities["no such feature"] == nil)
        }
    }

    @Test func configurationsThatMakeNoSenseAreInvalid() {
        let changes: [(inout StorageQueue.Configuration) -> Void] = [
            { $0.bytesInFlight = 0 }, { $0.bytesInFlight = -1 }, { $0.urgentReserve = -1 },
            { $0.urgentReserve = $0.bytesInFlight }, { $0.requestsInFlight = 1 }, { $0.requestsInFlight = 1 << 20 },
            { $0.pieceSize = 0 }, { $0.pieceSize = 5000 }, { $0.pieceSize = 2 << 30 }, { $0.inlineLimit = -1 },
            { $0.hostMemoryLimit = 0 }, { $0.spinMicroseconds = -1 }, { $0.spinMicroseconds = 1 << 20 },
            { $0.driver = .threads(0) }, { $0.driver = .threads(100_000) }, { $0.driver = .threads(-1) },
        ]
        for (index, change) in changes.enumerated() {
            var configuration = StorageQueue.Configuration()
            change(&configuration)
            do throws(StorageError) {
                _ = try StorageQueue(configuration)
                Issue.record("configuration \(index) was accepted")
            } catch {
                #expect(error.code == .invalidArgument && error.operation == .setUp, "\(error)")
            }
        }
    }
}

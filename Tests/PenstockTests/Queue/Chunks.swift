import Penstock
import TestSupport
import Testing

/// A file as a sequence: whole, in order, ahead of its use but never far ahead.
@Suite(.timeLimit(.minutes(10))) struct Chunks {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases, StorageFile.Caching.allCases)
    func chunksAreTheFileInOrder(_ driver: Driver, _ caching: StorageFile.Caching) async throws {
        let size = 1_000_003
        let path = directory.make("file", count: size)
        try await withStorageQueue(driver.configuration()) { queue in
            let file = try await queue.open(path, caching: caching)
            for (chunkSize, readAhead) in [
                (4096, 1), (100_000, 3), (1 << 20, 4), (size, 2), (size + 1, 64), (5000, 64),
            ] {
                dropFromCache(path)
                var position = 0
                for try await chunk in queue.chunks(of: file, size: chunkSize, readAhead: readAhead) {
                    #expect(chunk.count == min(chunkSize, size - position))
                    #expect(FilePattern().matches(chunk, at: UInt64(position)))
                    position += chunk.count
                }
                #expect(position == size, "chunks of \(chunkSize)")
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func rangesStopWhereTheyOrTheFileEnd(_ driver: Driver) async throws {
        let path = directory.make("file", count: 100_000)
        let empty = directory.make("empty", count: 0)
        try await withStorageQueue(driver.configuration()) { queue in
            let file = try await queue.open(path)
            for range: Range<UInt64> in [
                0..<0, 5..<5, 10..<20, 4000..<50_001, 90_000..<200_000, 100_000..<100_001, 1 << 40..<1 << 41,
            ] {
                var position = range.lowerBound
                for try await chunk in queue.chunks(of: file, size: 10_000, range: range) {
                    #expect(chunk.count > 0 && FilePattern().matches(chunk, at: position))
                    position += UInt64(chunk.count)
                }
                #expect(position == max(range.lowerBound, min(range.upperBound, 100_000)), "\(range)")
            }
            for try await _ in queue.chunks(of: try await queue.open(empty)) { Issue.record("a chunk of nothing") }
            await expectFailure(.invalidRange) {
                for try await _ in queue.chunks(of: file, range: UInt64.max - 10..<UInt64.max) {}
            }
        }
    }

    /// However slowly they are consumed, only as many buffers are in use as were allowed.
    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func readAheadIsBoundedByItsWindow(_ driver: Driver, _ inlineLimit: Int) async throws {
        let path = directory.make("file", count: 4 << 20)
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            let file = try await queue.open(path)
            var count = 0
            for try await chunk in queue.chunks(of: file, size: 64 << 10, readAhead: 3) {
                count += 1
                // Let whatever would run ahead do so.
                for _ in 0..<20 { await Task.yield() }
                #expect(await queue.statistics.memoryInUse <= 4 * (64 << 10))
                _ = chunk.count
            }
            #expect(count == 64)
            #expect(await queue.statistics.peakMemoryInUse <= 5 * (64 << 10))
        }
    }

    /// Chunks further ahead must not hold the memory that the next one waits for.
    @Test(arguments: Driver.allCases)
    func sequenceThatExceedsTheMemoryLimitStillGoesOn(_ driver: Driver) async throws {
        let path = directory.make("file", count: 16 << 20)
        let configuration = driver.ringOnly { $0.hostMemoryLimit = 2 << 20 }
        try await withStorageQueue(configuration) { queue in
            let file = try await queue.open(path)
            for round in 0..<20 {
                if round % 4 == 0 { dropFromCache(path) }
                var position = 0
                for try await chunk in queue.chunks(of: file, size: 1 << 20, readAhead: 8) {
                    #expect(FilePattern().matches(chunk, at: UInt64(position)))
                    position += chunk.count
                }
                #expect(position == 16 << 20)
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func leavingEarlyOrBeingCancelledGivesTheMemoryBack(_ driver: Driver) async throws {
        let path = directory.make("file", count: 8 << 20)
        let queue = try StorageQueue(driver.ringOnly())
        let file = try await queue.open(path)
        for try await _ in queue.chunks(of: file, size: 256 << 10) { break }
        let cancelled = Task {
            var count = 0
            for try await _ in queue.chunks(of: file, size: 256 << 10) {
                count += 1
                if count == 3 { withUnsafeCurrentTask { $0?.cancel() } }
            }
        }
        await expectFailure(.cancelled) { try await cancelled.value }
        await queue.shutdown()
        // The last read-ahead tasks may still be on their way out; each holds one buffer and then none.
        while await queue.statistics.memoryInUse > 0 { await Task.yield() }
    }
}

import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// Shutting down and dropping: every call ends exactly once, and nobody hangs.
@Suite(.timeLimit(.minutes(10))) struct Lifetime {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func shutdownWithThousandsInFlightEndsEachCallOnce(_ driver: Driver, _ inlineLimit: Int) async throws {
        let path = directory.make("file", count: 8 << 20)
        let configuration = driver.configuration {
            $0.requestsInFlight = 16
            $0.inlineLimit = inlineLimit
        }
        for caching in [StorageFile.Caching.buffered, .direct] {
            dropFromCache(path)
            let queue = try StorageQueue(configuration)
            let file = try await queue.open(path, caching: caching)
            let buffer = try await queue.allocate(byteCount: 8 << 20)
            let ended = Shared(0)
            await withTaskGroup(of: Void.self) { group in
                for index in 0..<3000 {
                    group.addTask {
                        let range = index % 2048 * 4096..<(index % 2048 + 1) * 4096
                        do throws(StorageError) {
                            #expect(
                                try await queue.read(from: file, at: UInt64(range.lowerBound), into: buffer[range])
                                    == 4096)
                            #expect(FilePattern().matches(buffer[range], at: UInt64(range.lowerBound)))
                        } catch {
                            #expect(error.code == .queueClosed, "\(error)")
                        }
                        ended.change { $0 += 1 }
                    }
                }
                group.addTask { await queue.shutdown() }
                group.addTask { await queue.shutdown() }
            }
            #expect(ended.now == 3000)
        }
    }

    /// Requests sent before the shutdown are done, not refused.
    @Test(arguments: Driver.allCases)
    func shutdownFinishesWhatWasAskedBefore(_ driver: Driver) async throws {
        let path = directory.make("file", count: 8 << 20)
        let queue = try StorageQueue(driver.ringOnly { $0.requestsInFlight = 4 })
        let file = try await queue.open(path)
        let buffer = try await queue.allocate(byteCount: 8 << 20)
        let requests = (0..<2048).map { index in
            StorageRequest.read(from: file, at: UInt64(index * 4096), into: buffer[index * 4096..<(index + 1) * 4096])
        }
        var completions = queue.completions(of: requests).makeAsyncIterator()
        var count = 0
        while let completion = await completions.next() {
            if count == 0 { Task { await queue.shutdown() } }
            #expect(completion.result.value == 4096)
            count += 1
        }
        #expect(count == 2048 && FilePattern().matches(buffer))
        await queue.shutdown()
    }

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func everythingAfterTheShutdownSaysClosed(_ driver: Driver, _ inlineLimit: Int) async throws {
        let path = directory.make("file", count: 100_000)
        let queue = try StorageQueue(driver.configuration { $0.inlineLimit = inlineLimit })
        let file = try await queue.open(path, .readWrite)
        let buffer = try await queue.read(from: file)
        let before = await queue.statistics
        await queue.shutdown()
        await queue.shutdown()
        await expectFailure(.queueClosed) { try await queue.read(from: file, into: buffer) }
        await expectFailure(.queueClosed) { try await queue.read(from: file, 0..<10) }
        await expectFailure(.queueClosed) { try await queue.write(buffer[...], to: file) }
        await expectFailure(.queueClosed) { try await queue.open(path) }
        await expectFailure(.queueClosed) { try await queue.open(path, [.writeOnly, .create]) }
        await expectFailure(.queueClosed) { try await queue.load(path) }
        await expectFailure(.queueClosed) { try await queue.load(path) { _, _ in } }
        await expectFailure(.queueClosed) { try await queue.allocate(byteCount: 1) }
        await expectFailure(.queueClosed) { try await queue.barrier() }
        await expectFailure(.queueClosed) { try await file.sync() }
        await expectFailure(.queueClosed) { try await file.truncate(to: 0) }
        await expectFailure(.queueClosed) { for try await _ in queue.chunks(of: file) {} }
        let results = await queue.perform([.read(from: file, into: buffer[...]), .write(buffer[...], to: file)])
        #expect(results.map(\.code) == [.queueClosed, .queueClosed])
        #expect(await queue.load([path])[0].code == .queueClosed)
        #expect(await queue.cancel(tag: 0, mask: 0) == 0)
        // The actor still answers, as often as it is asked.
        for _ in 0..<20 { #expect(await queue.statistics.bytesRead == before.bytesRead) }
        try await file.close()
        #expect(FilePattern().matches(buffer))
        #expect(directory.contents(path).count == 100_000)
    }

    /// Whoever holds all the memory may wait for the shutdown: nothing that is in flight may come to wait for theirs.
    @Test(arguments: [100_000, 3_000_000])
    func shutdownEndsLoadsThatAreAboutToWaitForMemory(_ size: Int) async throws {
        var faults = SimulatedDisk.Faults.none
        faults.delay = .seconds(1) ... .seconds(1)
        let disk = SimulatedDisk(seed: 1, faults: faults, time: .manual)
        disk["file"] = FilePattern().bytes(0..<size)
        var configuration = StorageQueue.Configuration()
        configuration.hostMemoryLimit = 4 << 20
        let queue = try StorageQueue(simulating: disk, configuration)
        let all = try await queue.allocate(byteCount: 4 << 20)
        let load = Task { try await queue.load("file") }
        await disk.operationsInFlight(atLeast: 1)
        let hasBegun = Shared(false)
        let shutdown = Task {
            hasBegun.change { $0 = true }
            await queue.shutdown()
        }
        while !hasBegun.now { await Task.yield() }
        for _ in 0..<100 { _ = await queue.statistics }
        let time = Task {
            while !Task.isCancelled {
                disk.advance(by: .seconds(1))
                await Task.yield()
            }
        }
        await expectFailure(.queueClosed) { try await load.value }
        await shutdown.value
        time.cancel()
        withExtendedLifetime(all) {}
    }

    @Test(arguments: Driver.allCases)
    func queueDroppedWithoutShutdownFinishesItsRequests(_ driver: Driver) async throws {
        let path = directory.make("file", count: 8 << 20)
        for round in 0..<10 {
            if round % 2 == 0 { dropFromCache(path) }
            var iterator: StorageCompletions.Iterator
            do {
                let queue = try StorageQueue(driver.ringOnly())
                let file = try await queue.open(path, caching: round % 4 < 2 ? .buffered : .direct)
                let buffer = try await queue.allocate(byteCount: 8 << 20)
                let requests = (0..<64).map { index in
                    StorageRequest.read(
                        from: file, at: UInt64(index * 131_072), into: buffer[index * 131_072..<(index + 1) * 131_072])
                }
                iterator = queue.completions(of: requests).makeAsyncIterator()
                #expect(await iterator.next() != nil)
            }
            // The queue is gone; what it was asked for is not.
            var count = 1
            while let completion = await iterator.next() {
                #expect(completion.result.value == 131_072)
                count += 1
            }
            #expect(count == 64)
        }
    }

    @Test(arguments: Driver.allCases)
    func queueMayBeDroppedOnItsOwnExecutor(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        for _ in 0..<20 {
            let executor: StorageExecutor
            let task: Task<Int, any Error>
            do {
                let queue = try StorageQueue(driver.ringOnly())
                executor = queue.executor
                task = Task(executorPreference: executor) { [queue] in
                    let file = try await queue.open(path)
                    return try await queue.read(from: file).count
                }
            }
            // The task holds the last reference, and lets go of it on the queue's thread.
            #expect(try await task.value == 1 << 20)
        }
    }

    @Test(arguments: Driver.allCases)
    func shutdownFromTheQueuesOwnExecutorReturns(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        for _ in 0..<20 {
            let queue = try StorageQueue(driver.ringOnly())
            await withTaskExecutorPreference(queue.executor) {
                let count = try? await queue.load(path).count
                #expect(count == 1 << 20)
                await queue.shutdown()
                await expectFailure(.queueClosed) { try await queue.load(path) }
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func taskThatNeverStopsYieldingDoesNotKeepTheThread(_ driver: Driver) async throws {
        let queue = try StorageQueue(driver.configuration())
        let (isOver, hasStarted) = (Shared(false), Shared(false))
        let executor = queue.executor
        let task = Task(executorPreference: executor) {
            while !isOver.now {
                hasStarted.change { $0 = true }
                await Task.yield()
            }
        }
        while !hasStarted.now { await Task.yield() }
        await queue.shutdown()
        isOver.change { $0 = true }
        await task.value
    }
}

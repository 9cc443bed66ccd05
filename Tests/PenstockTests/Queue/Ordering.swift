import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// Serial queues, barriers, and priorities that follow their task.
@Suite(.timeLimit(.minutes(10))) struct Ordering {
    private let directory = TemporaryDirectory()

    /// A queue that notes the labels and tags of its requests in the order in which they end.
    private func tracing(
        _ configuration: StorageQueue.Configuration
    ) -> (StorageQueue.Configuration, Shared<[UInt64]>) {
        let ended = Shared<[UInt64]>([])
        var configuration = configuration
        configuration.trace = { trace in ended.change { $0.append(trace.tag) } }
        return (configuration, ended)
    }

    @Test(arguments: Driver.allCases)
    func serialQueueDoesOneAfterTheOtherWhateverThePriorities(_ driver: Driver) async throws {
        let path = directory.make("file", count: 4 << 20)
        let (configuration, ended) = tracing(
            driver.ringOnly {
                $0.ordering = .serial
                $0.pieceSize = 4096
            })
        try await withStorageQueue(configuration) { queue in
            let file = try await queue.open(path)
            let buffer = try await queue.allocate(byteCount: 1 << 20)
            // One sends, so that the order of the calls is known.
            let requests = (0..<200).map { index -> StorageRequest in
                let length = index % 3 == 0 ? 40_000 : 100
                return .read(from: file, at: UInt64(index * 10_000), into: buffer[0..<length], tag: UInt64(index))
            }
            #expect(await queue.perform(requests).allSatisfy { $0.value != nil })
            #expect(ended.now == Array(0..<200))
        }
    }

    /// Each write overwrites the one before: only their order decides what is left.
    @Test(arguments: Driver.allCases)
    func serialWritesToOnePlaceLeaveTheLast(_ driver: Driver) async throws {
        let path = directory["file"]
        try await withStorageQueue(driver.configuration { $0.ordering = .serial }) { queue in
            let file = try await queue.open(path, [.readWrite, .create])
            let buffer = try await queue.allocate(byteCount: 100 * 4096)
            for index in 0..<100 { FilePattern(UInt64(index)).fill(buffer[index * 4096..<(index + 1) * 4096], at: 0) }
            let requests = (0..<100).map { index in
                StorageRequest.write(buffer[index * 4096..<(index + 1) * 4096], to: file)
            }
            #expect(await queue.perform(requests).allSatisfy { $0.value == 4096 })
            #expect(directory.contents(path) == FilePattern(99).bytes(0..<4096))
        }
    }

    @Test(arguments: Driver.allCases)
    func barrierReturnsAfterEverythingBeforeIt(_ driver: Driver) async throws {
        let path = directory.make("file", count: 4 << 20)
        let (configuration, ended) = tracing(driver.ringOnly { $0.requestsInFlight = 4 })
        try await withStorageQueue(configuration) { queue in
            let file = try await queue.open(path)
            let buffer = try await queue.allocate(byteCount: 4 << 20)
            for round in 0..<10 {
                let requests = (0..<100).map { index in
                    StorageRequest.read(
                        from: file, at: UInt64(index * 4096), into: buffer[index * 4096..<(index + 1) * 4096],
                        priority: .background, tag: UInt64(round * 1000 + index))
                }
                var before = queue.completions(of: requests).makeAsyncIterator()
                _ = await before.next()  // all have been sent
                try await queue.barrier()
                #expect(ended.now.count == 100 * (round + 1))
                while await before.next() != nil {}
            }
            try await queue.barrier()
        }
    }

    @Test func whatComesAfterABarrierWaitsForWhatCameBefore() async throws {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = FilePattern().bytes(0..<10_000)
        let queue = try StorageQueue(simulating: disk)
        let file = try await queue.open("file", caching: .buffered)
        disk.faults.delay = .seconds(1) ... .seconds(1)
        let buffer = try await queue.allocate(byteCount: 2000)
        let before = Task { try await queue.read(from: file, into: buffer[..<1000], priority: .background) }
        await disk.operationsInFlight(atLeast: 1)
        let barrier = Task { try await queue.barrier() }
        for _ in 0..<50 { await Task.yield() }
        let after = Task { try await queue.read(from: file, into: buffer[1000...], priority: .urgent) }
        while await queue.statistics.callsWaiting < 2 { await Task.yield() }
        // The barrier may have been sent after the second read, and then holds nothing; it never lets it go early.
        let wasHeld = await queue.statistics.piecesInFlight == 1
        disk.advance(by: .seconds(1))
        #expect(try await before.value == 1000)
        try await barrier.value
        if wasHeld {
            await disk.operationsInFlight(atLeast: 1)
            disk.advance(by: .seconds(1))
        }
        #expect(try await after.value == 1000)
        await queue.shutdown()
    }

    /// A disk that holds everything back, and room for one piece at a time.
    private func narrowQueue(
        _ trace: @escaping @Sendable (StorageTrace) -> Void
    ) async throws -> (SimulatedDisk, StorageQueue, StorageFile) {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = FilePattern().bytes(0..<10_000)
        var configuration = StorageQueue.Configuration()
        configuration.bytesInFlight = 4096
        configuration.urgentReserve = 0
        configuration.trace = trace
        let queue = try StorageQueue(simulating: disk, configuration)
        let file = try await queue.open("file", caching: .buffered)
        disk.faults.delay = .seconds(1) ... .seconds(1)
        return (disk, queue, file)
    }

    @Test func escalatedTaskTakesItsRequestAlong() async throws {
        let ended = Shared<[UInt64]>([])
        let (disk, queue, file) = try await narrowQueue { trace in ended.change { $0.append(trace.tag) } }
        let buffer = try await queue.allocate(byteCount: 3 * 4096)
        func read(_ tag: Int, _ priority: TaskPriority) -> Task<Int, any Error> {
            Task(priority: priority) {
                try await queue.read(from: file, into: buffer[tag * 4096..<(tag + 1) * 4096], tag: UInt64(tag))
            }
        }
        var tasks = [read(0, .medium)]
        await disk.operationsInFlight(atLeast: 1)
        _ = await queue.statistics  // and callers know, from the end of that turn on, that they may have to wait
        // Each waits behind the first, and is known to the queue before the next one comes.
        for (tag, priority) in [(1, TaskPriority.background), (2, .medium)] {
            tasks.append(read(tag, priority))
            while await queue.statistics.callsWaiting < tag + 1 { await Task.yield() }
        }
        tasks[1].escalatePriority(to: .high)
        _ = await queue.statistics  // the escalation was sent before this
        for _ in tasks {
            await disk.operationsInFlight(atLeast: 1)
            disk.advance(by: .seconds(1))
            for _ in 0..<2 { _ = await queue.statistics }
        }
        for task in tasks { #expect(try await task.value == 4096) }
        #expect(ended.now == [0, 1, 2], "the escalated one went before the one of medium priority")
        await queue.shutdown()
    }

    @Test func requestOfExplicitPriorityKeepsItWhenItsTaskIsEscalated() async throws {
        let priorities = Shared<[UInt64: StoragePriority]>([:])
        let (disk, queue, file) = try await narrowQueue { trace in priorities.change { $0[trace.tag] = trace.priority }
        }
        let buffer = try await queue.allocate(byteCount: 4096)
        let first = Task { try await queue.read(from: file, into: buffer) }
        await disk.operationsInFlight(atLeast: 1)
        _ = await queue.statistics  // as above
        let tasks = [nil, StoragePriority.normal].enumerated().map { index, priority in
            Task(priority: .background) {
                try await queue.read(from: file, into: buffer, priority: priority, tag: UInt64(index + 1))
            }
        }
        while await queue.statistics.callsWaiting < 3 { await Task.yield() }
        for task in tasks { task.escalatePriority(to: .high) }
        for _ in 0..<3 {
            await disk.operationsInFlight(atLeast: 1)
            disk.advance(by: .seconds(1))
            for _ in 0..<2 { _ = await queue.statistics }
        }
        for task in [first] + tasks { _ = try await task.value }
        #expect(priorities.now[1] == .high && priorities.now[2] == .normal)
        await queue.shutdown()
    }
}

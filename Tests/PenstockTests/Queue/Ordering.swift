import Penstock
import PenstockTesting
import SystemPackage
import Testing

/// Serial queues, barriers, and priorities that follow their task.
@Suite(.timeLimit(.minutes(1))) struct Ordering {
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

    /// A disk that holds everything back, a queue of one piece at a time: what goes next is what matters most.
    @Test func escalatedTaskTakesItsRequestAlong() async throws {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = FilePattern().bytes(0..<10_000)
        let (configuration, ended) = tracing({
            var configuration = StorageQueue.Configuration()
            configuration.bytesInFlight = 4096
            configuration.urgentReserve = 0
            return configuration
        }())
        let queue = try StorageQueue(simulating: disk, configuration)
        let file = try await queue.open("file", caching: .buffered)
        disk.faults.delay = .seconds(1) ... .seconds(1)
        let buffer = try await queue.allocate(byteCount: 4 * 4096)
        func read(_ tag: UInt64, _ priority: TaskPriority) -> Task<Int, any Error> {
            Task(priority: priority) {
                try await queue.read(from: file, into: buffer[Int(tag) * 2048..<Int(tag + 1) * 2048 + 2048], tag: tag)
            }
        }
        let first = read(0, .medium)
        await disk.operationsInFlight(atLeast: 1)
        let low = read(1, .background)
        while await queue.statistics.callsWaiting < 2 { await Task.yield() }
        let medium = read(2, .medium)
        while await queue.statistics.callsWaiting < 3 { await Task.yield() }
        low.escalatePriority(to: .high)
        _ = await queue.statistics  // the escalation was sent before this
        for _ in 0..<3 {
            await disk.operationsInFlight(atLeast: 1)
            disk.advance(by: .seconds(1))
            _ = await queue.statistics
            _ = await queue.statistics
        }
        for task in [first, low, medium] { #expect(try await task.value == 4096) }
        #expect(ended.now == [0, 1, 2], "the escalated one went before the one of medium priority")
        await queue.shutdown()
    }

    @Test func escalatedRequestIsTracedWithThePriorityItHadInTheEnd() async throws {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = FilePattern().bytes(0..<10_000)
        let priorities = Shared<[StoragePriority]>([])
        var configuration = StorageQueue.Configuration()
        configuration.trace = { trace in priorities.change { $0.append(trace.priority) } }
        let queue = try StorageQueue(simulating: disk, configuration)
        let file = try await queue.open("file", caching: .buffered)
        disk.faults.delay = .seconds(1) ... .seconds(1)
        let buffer = try await queue.allocate(byteCount: 4096)
        let (follows, fixed) = (
            Task(priority: .background) { try await queue.read(from: file, into: buffer) },
            Task(priority: .background) { try await queue.read(from: file, into: buffer, priority: .normal) }
        )
        await disk.operationsInFlight(atLeast: 2)
        for task in [follows, fixed] { task.escalatePriority(to: .high) }
        _ = await queue.statistics
        disk.advance(by: .seconds(1))
        _ = (try await follows.value, try await fixed.value)
        #expect(priorities.now.sorted() == [.normal, .high])
        await queue.shutdown()
    }
}

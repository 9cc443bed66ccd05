import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// Cancelled at any point, a call ends once, and its memory is the caller's alone from then on.
@Suite(.timeLimit(.minutes(10))) struct CancellationSafety {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func cancelledBeforeTheCallNothingIsDone(_ driver: Driver, _ inlineLimit: Int) async throws {
        let path = directory.make("file", count: 4096)
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            let file = try await queue.open(path, .readWrite)
            let buffer = try await queue.allocate(byteCount: 4096)
            FilePattern(99).fill(buffer[...], at: 0)
            let task = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                await expectFailure(.cancelled) { try await queue.read(from: file, into: buffer) }
                await expectFailure(.cancelled) { try await queue.write(buffer[...], to: file) }
                await expectFailure(.cancelled) { try await queue.load(path) }
                let results = await queue.perform([.read(from: file, into: buffer[...]), .write(buffer[...], to: file)])
                #expect(results.allSatisfy { $0.code == .cancelled })
            }
            await task.value
            #expect(FilePattern(99).matches(buffer))
        }
        #expect(directory.contents(path) == FilePattern().bytes(0..<4096))
    }

    /// One read holds the disk, so that the others are still queued when they are cancelled.
    @Test func queuedRequestIsWithdrawnAtOnce() async throws {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = FilePattern().bytes(0..<100_000)
        var configuration = StorageQueue.Configuration()
        configuration.ordering = .serial
        let queue = try StorageQueue(simulating: disk, configuration)
        let file = try await queue.open("file", caching: .buffered)
        disk.faults.delay = .seconds(1) ... .seconds(1)
        let buffer = try await queue.allocate(byteCount: 100_000)
        let first = Task { try await queue.read(from: file, into: buffer[..<1000]) }
        await disk.operationsInFlight(atLeast: 1)
        let second = Task { try await queue.read(from: file, into: buffer[1000..<2000]) }
        while await queue.statistics.callsWaiting < 2 { await Task.yield() }
        FilePattern(99).fill(buffer[1000..<2000], at: 0)
        second.cancel()
        await expectFailure(.cancelled) { try await second.value }
        #expect(disk.counts.operations == 3, "open, status, and one read")
        disk.advance(by: .seconds(1))
        #expect(try await first.value == 1000)
        #expect(FilePattern(99).matches(buffer[1000..<2000], at: 0))
        await queue.shutdown()
    }

    /// A file on a disk that takes a second of its own time for everything from then on.
    private func openOnSlowDisk(
        _ caching: StorageFile.Caching, cancellable: Double
    ) async throws -> (SimulatedDisk, StorageQueue, StorageFile) {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = FilePattern().bytes(0..<100_000)
        let queue = try StorageQueue(simulating: disk)
        let file = try await queue.open("file", caching: caching)
        disk.faults.delay = .seconds(1) ... .seconds(1)
        disk.faults.cancellable = cancellable
        return (disk, queue, file)
    }

    /// In flight, a cancel is a wish: the call returns with the operation's own completion, not before.
    @Test(arguments: [0.0, 1.0])
    func requestInFlightEndsWithItsOwnCompletion(_ cancellable: Double) async throws {
        let (disk, queue, file) = try await openOnSlowDisk(.buffered, cancellable: cancellable)
        let buffer = try await queue.allocate(byteCount: 1000)
        let hasReturned = Shared(false)
        try await withThrowingTaskGroup(of: Int?.self) { group in
            group.addTask {
                let result = await queue.perform([.read(from: file, into: buffer[...])])
                hasReturned.change { $0 = true }
                return result[0].value
            }
            await disk.operationsInFlight(atLeast: 1)
            group.cancelAll()
            if cancellable == 0 {
                // Twice round the ring thread's turn: the cancellation has arrived, and the read is still in flight.
                for _ in 0..<2 { #expect(await queue.statistics.piecesInFlight == 1) }
                #expect(!hasReturned.now)
                disk.advance(by: .seconds(1))
            }
            let count = try await group.next()!
            #expect(count == (cancellable == 0 ? 1000 : nil), "it came too late, and succeeded")
        }
        await queue.shutdown()
    }

    /// Why an operation is begun again.
    enum Setback: CaseIterable { case interrupted, again, short, refused }

    /// The wish is not forgotten with the operation that it was meant for.
    @Test(arguments: Setback.allCases)
    func cancelledRequestIsNotTriedAgain(_ setback: Setback) async throws {
        let (disk, queue, file) = try await openOnSlowDisk(.direct, cancellable: 0)
        switch setback {
        case .interrupted: disk.faults.interruptions = 1
        case .again: disk.faults.again = 1
        case .short: disk.faults.shortTransfers = 1
        case .refused: disk.faults.directRefusals = 1
        }
        let buffer = try await queue.allocate(byteCount: 8192)
        let before = disk.counts.operations
        let read = Task { await queue.perform([.read(from: file, into: buffer[...])])[0] }
        await disk.operationsInFlight(atLeast: 1)
        read.cancel()
        for _ in 0..<2 { #expect(await queue.statistics.piecesInFlight == 1) }
        disk.advance(by: .seconds(1))
        #expect(await read.value.code == .cancelled)
        #expect(disk.counts.operations == before + 1)
        await queue.shutdown()
    }

    /// Thousands of tasks, cancelled at any moment. A buffer is filled with a mark as soon as its call has returned: if
    /// the kernel were not done with it, the mark would not last.
    @Test(arguments: Driver.allCases, StorageFile.Caching.allCases)
    func cancelStormNeverTouchesABufferAfterItsCall(_ driver: Driver, _ caching: StorageFile.Caching) async throws {
        let size = 8 << 20
        let path = directory.make("file", count: size)
        var random = seededOnce("cancel storm, \(driver) \(caching)")
        try await withStorageQueue(driver.ringOnly { $0.requestsInFlight = 64 }) { queue in
            let file = try await queue.open(path, caching: caching)
            let ended = Shared(0)
            for round in 0..<6 {
                if round % 2 == 0 { dropFromCache(path) }
                await withTaskGroup(of: Void.self) { group in
                    for _ in 0..<250 {
                        let length = 1 + random.below(64 << 10)
                        let offset = random.below(size - length)
                        let (yields, delay) = (random.below(4), random.below(8))
                        group.addTask {
                            let buffer = try! await queue.allocate(byteCount: length)
                            let task = Task {
                                for _ in 0..<delay { await Task.yield() }
                                let result = await queue.perform([
                                    .read(from: file, at: UInt64(offset), into: buffer[...])
                                ])[0]
                                if result.value != nil { #expect(FilePattern().matches(buffer, at: UInt64(offset))) }
                                FilePattern(99).fill(buffer[...], at: 0)
                                return result
                            }
                            for _ in 0..<yields { await Task.yield() }
                            task.cancel()
                            let result = await task.value
                            #expect(result.value == length || result.code == .cancelled)
                            for _ in 0..<20 { await Task.yield() }
                            #expect(FilePattern(99).matches(buffer), "touched after the call had returned")
                            ended.change { $0 += 1 }
                        }
                    }
                }
            }
            let statistics = await queue.statistics
            #expect(ended.now == 1500)
            #expect(statistics.callsWaiting == 0 && statistics.bytesInFlight == 0 && statistics.memoryInUse == 0)
        }
    }

    /// `onCancel` may run before the request has been sent; it then finds its cancellation there.
    @Test(arguments: Driver.allCases)
    func cancellationsThatRaceWithTheCallAreNeverLost(_ driver: Driver) async throws {
        let path = directory.make("file", count: 64 << 10)
        try await withStorageQueue(driver.ringOnly()) { queue in
            let file = try await queue.open(path)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<2000 {
                    group.addTask {
                        let buffer = try! await queue.allocate(byteCount: 4096)
                        let task = Task { try await queue.read(from: file, into: buffer) }
                        task.cancel()
                        switch await task.result {
                        case .success(let count): #expect(count == 4096)
                        case .failure(let error): #expect((error as? StorageError)?.code == .cancelled)
                        }
                    }
                }
            }
            #expect(await queue.statistics.memoryInUse == 0)
        }
    }

    @Test(arguments: Driver.allCases)
    func cancelledBatchHasAResultForEachRequest(_ driver: Driver) async throws {
        let path = directory.make("file", count: 4 << 20)
        try await withStorageQueue(driver.ringOnly { $0.requestsInFlight = 4 }) { queue in
            let file = try await queue.open(path)
            let buffer = try await queue.allocate(byteCount: 4 << 20)
            let requests = (0..<1024).map { index in
                StorageRequest.read(
                    from: file, at: UInt64(index * 4096), into: buffer[index * 4096..<(index + 1) * 4096])
            }
            for yields in [0, 1, 3, 10, 30] {
                let task = Task { await queue.perform(requests) }
                for _ in 0..<yields { await Task.yield() }
                task.cancel()
                let results = await task.value
                #expect(results.count == 1024)
                #expect(results.allSatisfy { $0.value == 4096 || $0.code == .cancelled })
                FilePattern(99).fill(buffer[...], at: 0)
                try await queue.barrier()
                #expect(FilePattern(99).matches(buffer), "touched after the batch had returned")
            }
        }
    }

    @Test func cancellingAFinishedTaskDoesNothing() async throws {
        let path = directory.make("file", count: 4096)
        try await withStorageQueue(Driver.ioUring.ringOnly()) { queue in
            let file = try await queue.open(path)
            for _ in 0..<100 {
                let task = Task { try await queue.read(from: file).count }
                #expect(try await task.value == 4096)
                task.cancel()
            }
            #expect(await queue.statistics.cancelled == 0)
        }
    }
}

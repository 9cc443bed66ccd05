import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// Ending requests by tag, and by the clock.
@Suite(.timeLimit(.minutes(10))) struct TagsAndDeadlines {
    /// A queue on a disk whose operations take a second of a clock that the test holds.
    private func slowQueue(
        _ change: (inout StorageQueue.Configuration) -> Void = { _ in }
    ) async throws -> (SimulatedDisk, StorageQueue, StorageFile) {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = FilePattern().bytes(0..<100_000)
        var configuration = StorageQueue.Configuration()
        change(&configuration)
        let queue = try StorageQueue(simulating: disk, configuration)
        let file = try await queue.open("file", .readWrite, caching: .buffered)
        disk.faults.delay = .seconds(1) ... .seconds(1)
        disk.faults.cancellable = 1
        return (disk, queue, file)
    }

    @Test func cancelByTagEndsThoseThatMatchUnderTheMask() async throws {
        let (disk, queue, file) = try await slowQueue()
        let buffer = try await queue.allocate(byteCount: 16_000)
        let requests = (0..<16).map { index in
            StorageRequest.read(from: file, into: buffer[index * 1000..<(index + 1) * 1000], tag: 0x100 + UInt64(index))
        }
        let task = Task { await queue.perform(requests) }
        await disk.operationsInFlight(atLeast: 16)
        #expect(await queue.cancel(tag: 0x200) == 0)
        #expect(await queue.cancel(tag: 0x105) == 1)
        #expect(await queue.cancel(tag: 1, mask: 3) == 4 - 1, "5 is cancelled already, or is asked once more")
        disk.advance(by: .seconds(1))
        let results = await task.value
        for (index, result) in results.enumerated() {
            #expect(result.code == (index % 4 == 1 ? .cancelled : nil), "\(index)")
        }
        #expect(await queue.cancel(tag: 0, mask: 0) == 0)
        await queue.shutdown()
    }

    @Test func cancellingInSerialModeKeepsTheOrder() async throws {
        let (disk, queue, file) = try await slowQueue { $0.ordering = .serial }
        disk.faults.cancellable = 0
        let buffer = try await queue.allocate(byteCount: 4000)
        let requests = (0..<4).map { index in
            StorageRequest.read(from: file, into: buffer[index * 1000..<(index + 1) * 1000], tag: UInt64(index))
        }
        let isOver = Shared(false)
        let task = Task {
            defer { isOver.change { $0 = true } }
            return await queue.perform(requests)
        }
        await disk.operationsInFlight(atLeast: 1)
        // The second goes; the third must not take its place while the first is still in flight.
        #expect(await queue.cancel(tag: 1) == 1)
        #expect(await queue.statistics.piecesInFlight == 1)
        #expect(await queue.statistics.piecesInFlight == 1)
        while !isOver.now {
            disk.advance(by: .seconds(1))
            _ = await queue.statistics
        }
        #expect(await task.value.map(\.code) == [nil, .cancelled, nil, nil])
        #expect(disk.counts.peakInFlight == 1, "one at a time")
        await queue.shutdown()
    }

    @Test func manyCancelsOfTheSameRequestsDoNoHarm() async throws {
        let directory = TemporaryDirectory()
        let path = directory.make("file", count: 8 << 20)
        for driver in Driver.allCases {
            try await withStorageQueue(driver.ringOnly()) { queue in
                let file = try await queue.open(path, caching: .direct)
                let buffer = try await queue.allocate(byteCount: 8 << 20)
                for _ in 0..<20 {
                    let requests = (0..<256).map { index in
                        StorageRequest.read(
                            from: file, at: UInt64(index * 32768), into: buffer[index * 32768..<(index + 1) * 32768],
                            tag: 7)
                    }
                    async let results = queue.perform(requests)
                    // Each asks again for what is in flight: more cancellations than the completion queue has room for.
                    await queue.cancelOftenWhileBusy(tag: 7, times: 200)
                    let codes = await results.map(\.code)
                    #expect(codes.count == 256 && codes.allSatisfy { $0 == nil || $0 == .cancelled })
                }
            }
        }
    }

    @Test func deadlineEndsAQueuedRequestAndOneInFlight() async throws {
        let (disk, queue, file) = try await slowQueue { $0.ordering = .serial }
        // Long enough for the machine's own clock to be of no account: what counts is the disk's.
        disk.faults.delay = .seconds(1000) ... .seconds(1000)
        let buffer = try await queue.allocate(byteCount: 2000)
        let first = Task {
            try await queue.read(from: file, into: buffer[..<1000], deadline: .now + .seconds(300))
        }
        await disk.operationsInFlight(atLeast: 1)
        let second = Task {
            try await queue.read(from: file, into: buffer[1000...], deadline: .now + .seconds(200))
        }
        while await queue.statistics.callsWaiting < 2 { await Task.yield() }
        disk.advance(by: .seconds(250))
        let error = await expectFailure(.deadlineExceeded) { try await second.value }
        #expect(error?.length == 1000)
        disk.advance(by: .seconds(250))
        await expectFailure(.deadlineExceeded) { try await first.value }
        #expect(await queue.statistics.cancelled == 2)
        await queue.shutdown()
    }

    @Test func requestsInTimeAreNotTouchedByTheirDeadline() async throws {
        let (disk, queue, file) = try await slowQueue()
        let buffer = try await queue.allocate(byteCount: 100)
        for _ in 0..<200 {
            let task = Task { try await queue.read(from: file, into: buffer, deadline: .now + .seconds(3600)) }
            await disk.operationsInFlight(atLeast: 1)
            disk.advance(by: .seconds(1))
            #expect(try await task.value == 100)
        }
        disk.advance(by: .seconds(7200))
        #expect(await queue.statistics.cancelled == 0)
        await queue.shutdown()
    }

    @Test(arguments: Driver.allCases)
    func requestWhoseDeadlineHasPassedIsNotStarted(_ driver: Driver) async throws {
        let directory = TemporaryDirectory()
        let path = directory.make("file", count: 4096)
        try await withStorageQueue(driver.ringOnly()) { queue in
            let file = try await queue.open(path, .readWrite)
            let buffer = try await queue.allocate(byteCount: 4096)
            FilePattern(99).fill(buffer[...], at: 0)
            let past = ContinuousClock.now - .seconds(1)
            await expectFailure(.deadlineExceeded) { try await queue.read(from: file, into: buffer, deadline: past) }
            #expect(FilePattern(99).matches(buffer))
            await expectFailure(.deadlineExceeded) { try await queue.write(buffer[...], to: file, deadline: past) }
            let results = await queue.perform([
                .read(from: file, into: buffer[..<10], deadline: past), .read(from: file, into: buffer[10..<20]),
                .read(from: file, into: buffer[20..<30], deadline: .now + .seconds(1 << 40)),
            ])
            #expect(results.map(\.code) == [.deadlineExceeded, nil, nil])
        }
        #expect(directory.contents(path) == FilePattern().bytes(0..<4096))
    }
}

extension StorageQueue {
    /// On the queue's own executor, between two of its turns, so that nothing completes meanwhile.
    fileprivate func cancelOftenWhileBusy(tag: UInt64, times: Int) {
        for _ in 0..<times { cancel(tag: tag) }
    }

    @Test func deadlinesHoldForThoseWhoWaitForMemory() async throws {
        try await withStorageQueue { queue in
            let arena = SlabArena(limit: SlabArena.slabSize)
            let all = arena.take(SlabArena.slabSize)!
            for _ in 0..<10 {
                await expectFailure(.deadlineExceeded) {
                    try await queue.core.take(4096, from: arena, path: nil, deadline: .now + .milliseconds(2))
                }
            }
            let waiting = Task {
                try await queue.core.take(4096, from: arena, path: nil, deadline: .now + .seconds(600))
            }
            let cancelled = Task {
                try await queue.core.take(4096, from: arena, path: nil, deadline: .now + .seconds(600))
            }
            cancelled.cancel()
            await expectFailure(.cancelled) { try await cancelled.value }
            arena.release(all)
            arena.release(try await waiting.value)
        }
    }
}

import PenstockTesting
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import Penstock

/// Threads that wait for what a queue without tasks has been given.
@Suite(.timeLimit(.minutes(5))) struct HostQueueWaits {
    private let disk = SimulatedDisk(seed: 1, time: .manual)
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)

    private func enqueueRead(of file: StorageFile, on requests: HostQueue) throws {
        let isAccepted = try requests.enqueue(
            HostRequest(isRead: true, file: file, offset: 0, place: .memory(memory.baseAddress!, memory.count))
        ) {}
        #expect(isAccepted)
    }

    /// A queue of which nothing ends before the disk's time goes on.
    private func withRequests(_ body: (HostQueue, StorageFile) async throws -> Void) async throws {
        defer { memory.deallocate() }
        disk["file"] = FilePattern().bytes(0..<4096)
        let queue = try StorageQueue(simulating: disk)
        let file = try await queue.open("file")
        disk.faults.delay = .seconds(1) ... .seconds(1)
        let requests = try HostQueue(on: queue, HostQueue.Configuration())
        try await body(requests, file)
        requests.close()
        await queue.shutdown()
    }

    /// Ends the reads that are in flight, so many, with another behind them that is half done.
    private func endReads(_ count: Int, of file: StorageFile, on requests: HostQueue) async throws {
        await disk.operationsInFlight(atLeast: count)
        disk.advance(by: .milliseconds(500))
        try enqueueRead(of: file, on: requests)
        requests.submit()
        await disk.operationsInFlight(atLeast: count + 1)
        disk.advance(by: .milliseconds(500))
    }

    /// A host may ask every frame, for as long as its first request takes.
    @Test func whoAsksAgainAndAgainLeavesOneMarkBehind() async throws {
        try await withRequests { requests, file in
            for _ in 0..<100 {
                try enqueueRead(of: file, on: requests)
                #expect(try !requests.wait(0))
            }
            #expect(requests.outstanding.load(ordering: .relaxed) == 101)
            await disk.operationsInFlight(atLeast: 100)
            disk.advance(by: .seconds(1))
            #expect(try requests.wait(.max))
            #expect(requests.status.completed == 100)
            #expect(try requests.wait(0))
        }
    }

    /// An end that was asked for earlier does not do for what has come since.
    @Test func earlierEndIsNotTakenForTheLast() async throws {
        try await withRequests { requests, file in
            try enqueueRead(of: file, on: requests)
            #expect(try !requests.wait(0))
            try await endReads(1, of: file, on: requests)
            while requests.status.completed < 1 { await Task.yield() }
            #expect(try !requests.wait(1_000_000), "the second has not ended")
            disk.advance(by: .milliseconds(500))
            #expect(try requests.wait(.max))
            #expect(requests.status.completed == 2)
        }
    }

    /// What comes while a thread waits may need just that thread.
    @Test func waitingIsForWhatWasEnqueuedBefore() async throws {
        try await withRequests { requests, file in
            try enqueueRead(of: file, on: requests)
            #expect(try !requests.wait(0))
            try enqueueRead(of: file, on: requests)
            let isOver = Shared(false)
            let thread = try RingThread(name: "waits") { isOver.change { $0 = (try? requests.wait(.max)) == true } }
            // Two requests and two marks: the thread waits.
            while requests.outstanding.load(ordering: .relaxed) < 4 { await Task.yield() }
            try await endReads(2, of: file, on: requests)
            thread.join()
            #expect(isOver.now)
            #expect(requests.status.completed == 2)
            disk.advance(by: .milliseconds(500))
        }
    }
}

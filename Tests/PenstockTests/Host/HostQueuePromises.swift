import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// Requests without tasks, on a disk that has a bad day, over many seeds. A failure names its seed.
@Suite(.timeLimit(.minutes(10))) struct HostQueuePromises {
    /// What has been heard of the requests of one seed.
    private final class Ledger: Sendable {
        struct State {
            var settled: [Int]
            var reported: [Int]
            var counts: [Int?]
            var failures = 0
            var isOver = false
            var problems: [String] = []
        }

        let state: Locked<State>

        init(_ count: Int) {
            state = Locked(
                State(
                    settled: Array(repeating: 0, count: count), reported: Array(repeating: 0, count: count),
                    counts: Array(repeating: nil, count: count)))
        }

        func settle(_ completion: borrowing HostCompletion) {
            let index = Int(completion.payload.userData)
            let (count, failure) = (completion.count, completion.failure)
            state.withLock { state in
                state.settled[index] += 1
                if failure == .none { state.counts[index] = count } else { state.failures += 1 }
            }
        }

        func report(_ completion: borrowing HostCompletion) {
            let index = Int(completion.payload.userData)
            state.withLock { state in
                if state.isOver { state.problems.append("\(index) was reported after the end") }
                if state.settled[index] != 1 { state.problems.append("\(index) was reported before it was settled") }
                state.reported[index] += 1
            }
        }

        /// All requests in front of a marker have ended.
        func reach(_ end: Int) {
            state.withLock { state in
                if state.settled[..<end].contains(0) { state.problems.append("marker \(end) came too early") }
                if state.isOver { state.problems.append("marker \(end) came after the end") }
            }
        }
    }

    @Test(arguments: 0..<8)
    func holdOnAnySeed(group: Int) async throws {
        let each = repetitions(800) / 8
        for seed in group * each..<(group + 1) * each { try await run(seed: UInt64(seed)) }
    }

    private func run(seed: UInt64) async throws {
        var random = SeededRandom(seed)
        var faults = SimulatedDisk.Faults.everything
        if random.chance(30) { faults.ioErrors = 0.05 }
        let disk = SimulatedDisk(seed: seed, faults: faults)
        disk["file"] = Pattern.bytes(file: 1, count: 40_000)
        var configuration = StorageQueue.Configuration()
        configuration.pieceSize = 4096
        configuration.bytesInFlight = 30_000
        configuration.urgentReserve = 5_000
        let queue = try StorageQueue(simulating: disk, configuration)
        let file = try await queue.open("file", caching: StorageFile.Caching.allCases.randomElement(using: &random)!)

        let count = Int.random(in: 1...200, using: &random)
        let ledger = Ledger(count)
        let dispatch = random.chance(30) ? HostDispatch() : nil
        var host = HostQueue.Configuration()
        host.capacity = dispatch == nil ? Int.random(in: 1...300, using: &random) : 1000
        host.priority = StoragePriority.allCases.randomElement(using: &random)!
        host.settle = { ledger.settle($0) }
        host.report = { ledger.report($0) }
        host.dispatch = dispatch
        let requests = try HostQueue(on: queue, host)

        let size = 5000
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count * size, alignment: 4096)
        defer { memory.deallocate() }
        var asked: [(offset: Int, length: Int)] = []
        for index in 0..<count {
            let (offset, length) = (
                Int.random(in: 0...41_000, using: &random), Int.random(in: 1...size, using: &random)
            )
            asked.append((offset, length))
            var request = HostRequest(
                isRead: true, file: file, offset: UInt64(offset),
                place: .memory(memory.baseAddress! + index * size, length))
            request.tag = UInt64(index % 3)
            request.payload.userData = UInt(index)
            if random.chance(5) { request.deadline = UInt64.random(in: 0...3_000_000, using: &random) }
            let isAccepted = try requests.enqueue(request) {}
            #expect(isAccepted)
            if random.chance(5) {
                let isMarked = try requests.mark { failure in
                    ledger.reach(index + 1)
                    return failure
                }
                #expect(isMarked)
            }
            if random.chance(10) { requests.submit() }
            if random.chance(3) { requests.cancel(tag: 1, mask: 3) }
        }
        if random.chance(50) { #expect(try requests.wait(.max)) }
        requests.close()
        let over = ledger.state.withLock { state in
            state.isOver = true
            return state
        }
        #expect(over.problems.isEmpty, "seed \(seed)")
        #expect(over.reported.allSatisfy { $0 == 1 } && over.settled.allSatisfy { $0 == 1 }, "seed \(seed)")
        for index in 0..<count {
            guard let moved = over.counts[index] else { continue }
            let (offset, length) = asked[index]
            #expect(moved == min(length, max(0, 40_000 - offset)), "seed \(seed)")
            let bytes = UnsafeRawBufferPointer(start: memory.baseAddress! + index * size, count: moved)
            #expect(Pattern.matches(bytes, file: 1, at: min(offset, 40_000)), "seed \(seed)")
        }
        let status = requests.status
        #expect(status.completed == UInt64(count) && status.failed == UInt64(over.failures), "seed \(seed)")
        #expect(status.slotsFree == status.slots && status.bytesPending == 0, "seed \(seed)")
        #expect(requests.takeErrors().count == UInt64(over.failures), "seed \(seed)")
        #expect(throws: StorageError.self) {
            try requests.enqueue(
                HostRequest(isRead: true, file: file, offset: 0, place: .memory(memory.baseAddress!, 1))
            ) {}
        }
        await queue.shutdown()
    }
}

import Testing

@testable import Penstock

/// No priority waits for ever behind endless higher load.
@Suite struct SchedulerFairness {
    /// Keeps `load` busy without end, and counts its pieces until the entry of `priority` gets one.
    private func piecesBefore(
        _ priority: StoragePriority, _ bytes: Int, under load: StoragePriority, _ loadBytes: Int, atMost: Int
    ) -> Int? {
        var scheduler = Scheduler(SchedulerRules.limits)
        let waiting = scheduler.admit(priority, bytes: bytes)
        let busy = scheduler.admit(load, bytes: loadBytes)
        var inFlight: [Int] = []
        for count in 0..<atMost {
            // As much as there is room for goes out, then the oldest piece comes back: a disk that is never idle.
            while let id = scheduler.next() {
                if id == waiting { return count }
                scheduler.issued(busy, bytes: loadBytes, rest: .piece(loadBytes))
                inFlight.append(loadBytes)
            }
            guard !inFlight.isEmpty else { return nil }
            scheduler.finished(bytes: inFlight.removeFirst())
        }
        return nil
    }

    @Test(arguments: [StoragePriority.background, .normal], [4096, 1 << 20])
    func lowerPriorityIsServedUnderEndlessHighLoad(_ priority: StoragePriority, _ bytes: Int) {
        for loadBytes in [4096, 64 << 10, 1 << 20] {
            let pieces = piecesBefore(priority, bytes, under: .high, loadBytes, atMost: 100_000)
            #expect(pieces != nil, "never, behind pieces of \(loadBytes)")
        }
    }

    @Test(arguments: [StoragePriority.background, .normal, .high], [4096, 1 << 20])
    func everyPriorityIsServedUnderEndlessUrgentLoad(_ priority: StoragePriority, _ bytes: Int) {
        for loadBytes in [4096, 64 << 10, 1 << 20] {
            let pieces = piecesBefore(priority, bytes, under: .urgent, loadBytes, atMost: 100_000)
            #expect(pieces != nil, "never, behind pieces of \(loadBytes)")
        }
    }

    @Test func pieceLargerThanTheBudgetIsServedUnderEndlessLoad() {
        for load in [StoragePriority.high, .urgent] {
            #expect(piecesBefore(.normal, 64 << 20, under: load, 64 << 10, atMost: 1_000_000) != nil, "\(load)")
        }
    }

    @Test func backgroundGetsAboutOneByteInSeventeen() {
        var scheduler = Scheduler(SchedulerRules.limits)
        let low = scheduler.admit(.background, bytes: 64 << 10)
        let high = scheduler.admit(.high, bytes: 64 << 10)
        var counts = [low: 0, high: 0]
        for _ in 0..<17_000 {
            guard let id = scheduler.next() else {
                scheduler.finished(bytes: 64 << 10)
                continue
            }
            scheduler.issued(id, bytes: 64 << 10, rest: .piece(64 << 10))
            counts[id]! += 1
        }
        let share = Double(counts[high]!) / Double(counts[low]!)
        #expect((12...20).contains(share), "high got \(share) times as much")
    }

    @Test func entriesOfOnePriorityShareEvenly() {
        var scheduler = Scheduler(SchedulerRules.limits)
        let ids = (0..<8).map { _ in scheduler.admit(.normal, bytes: 1 << 20) }
        var counts = [Scheduler.EntryID: Int]()
        for _ in 0..<1000 {
            guard let id = scheduler.next() else {
                scheduler.finished(bytes: 1 << 20)
                continue
            }
            scheduler.issued(id, bytes: 1 << 20, rest: .piece(1 << 20))
            counts[id, default: 0] += 1
        }
        let numbers = ids.map { counts[$0] ?? 0 }
        #expect(numbers.max()! - numbers.min()! <= 1, "\(numbers)")
    }
}

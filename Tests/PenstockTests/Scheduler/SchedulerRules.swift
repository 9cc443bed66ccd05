import Testing

@testable import Penstock

/// What the scheduler promises, one rule at a time.
@Suite struct SchedulerRules {
    static let limits = Scheduler.Limits(
        bytes: 4 << 20, urgentReserve: 1 << 20, pieces: 16, urgentPieces: 2, quantum: 1 << 20)
    var scheduler = Scheduler(Self.limits)

    private mutating func issue(_ id: Scheduler.EntryID, _ bytes: Int, _ rest: Scheduler.Rest = .drained) {
        #expect(scheduler.next() == id)
        scheduler.issued(id, bytes: bytes, rest: rest)
    }

    @Test mutating func higherPriorityGoesFirstWhateverTheOrderOfArrival() {
        let ids = StoragePriority.allCases.map { scheduler.admit($0, bytes: 4096) }
        for id in ids.reversed() { issue(id, 4096) }
        #expect(scheduler.next() == nil)
    }

    @Test mutating func oneShareLetsTheNextEntryHaveItsTurn() {
        let first = scheduler.admit(.normal, bytes: 1 << 20)
        let second = scheduler.admit(.normal, bytes: 4096)
        issue(first, 1 << 20, .piece(1 << 20))
        issue(second, 4096)
        issue(first, 1 << 20)
    }

    @Test mutating func smallPiecesOfOneEntryStayTogetherUpToTheQuantum() {
        let first = scheduler.admit(.normal, bytes: 256 << 10)
        let second = scheduler.admit(.normal, bytes: 4096)
        for _ in 0..<3 { issue(first, 256 << 10, .piece(256 << 10)) }
        issue(first, 256 << 10, .piece(256 << 10))
        issue(second, 4096)
    }

    @Test mutating func bulkNeverUsesTheUrgentReserve() {
        let bulk = scheduler.admit(.high, bytes: 1 << 20)
        for _ in 0..<3 { issue(bulk, 1 << 20, .piece(1 << 20)) }
        #expect(scheduler.next() == nil)
        let urgent = scheduler.admit(.urgent, bytes: 1 << 20)
        issue(urgent, 1 << 20)
        #expect(scheduler.bytesInFlight == 4 << 20)
        let late = scheduler.admit(.urgent, bytes: 1)
        #expect(scheduler.next() == nil)
        scheduler.finished(bytes: 1 << 20)
        issue(late, 1)
    }

    @Test mutating func bulkLeavesPiecesToTheUrgent() {
        let bulk = scheduler.admit(.normal, bytes: 1)
        for _ in 0..<14 { issue(bulk, 1, .piece(1)) }
        #expect(scheduler.next() == nil)
        let urgent = scheduler.admit(.urgent, bytes: 1)
        issue(urgent, 1, .piece(1))
        issue(urgent, 1, .piece(1))
        #expect(scheduler.next() == nil)
    }

    @Test mutating func pieceLargerThanTheBudgetGoesAlone() {
        let small = scheduler.admit(.normal, bytes: 4096)
        issue(small, 4096)
        let large = scheduler.admit(.normal, bytes: 8 << 20)
        #expect(scheduler.next() == nil)
        scheduler.finished(bytes: 4096)
        issue(large, 8 << 20)
        _ = scheduler.admit(.urgent, bytes: 1)
        #expect(scheduler.next() == nil)
    }

    @Test mutating func barrierHoldsWhatComesAfterUntilEverythingBeforeHasRetired() {
        let before = scheduler.admit(.background, bytes: 1)
        let barrier = scheduler.addBarrier()
        let after = scheduler.admit(.urgent, bytes: 1)
        issue(before, 1)
        #expect(scheduler.next() == nil)
        scheduler.finished(bytes: 1)
        #expect(scheduler.takeReachedBarriers().isEmpty)
        scheduler.retire(before)
        #expect(scheduler.takeReachedBarriers() == [barrier])
        #expect(scheduler.takeReachedBarriers().isEmpty)
        issue(after, 1)
    }

    @Test mutating func barrierOfAnIdleSchedulerIsReachedAtOnce() {
        let barriers = [scheduler.addBarrier(), scheduler.addBarrier()]
        #expect(scheduler.takeReachedBarriers() == barriers)
        #expect(scheduler.isIdle)
    }

    @Test mutating func withdrawingAHeldEntryDoesNotOpenTheBarrier() {
        let before = scheduler.admit(.normal, bytes: 1)
        _ = scheduler.addBarrier()
        let held = scheduler.admit(.normal, bytes: 1)
        scheduler.retire(held)
        #expect(scheduler.takeReachedBarriers().isEmpty)
        scheduler.retire(before)
        #expect(scheduler.takeReachedBarriers().count == 1)
        #expect(scheduler.isIdle)
    }

    @Test mutating func serialModeTakesOneEntryAtATimeInOrder() {
        var limits = Self.limits
        limits.serial = true
        scheduler = Scheduler(limits)
        let ids = [StoragePriority.background, .urgent, .normal].map { scheduler.admit($0, bytes: 1) }
        for id in ids {
            issue(id, 1)
            #expect(scheduler.next() == nil)
            scheduler.finished(bytes: 1)
            scheduler.retire(id)
        }
        #expect(scheduler.isIdle)
    }

    @Test mutating func escalatedEntryOvertakesAndNeverFallsBack() {
        let first = scheduler.admit(.normal, bytes: 1)
        let second = scheduler.admit(.background, bytes: 1)
        scheduler.escalate(second, to: .high)
        #expect(scheduler.next() == second)
        scheduler.escalate(second, to: .background)
        issue(second, 1)
        issue(first, 1)
    }

    @Test mutating func pausedEntryWaitsUntilItIsResumed() {
        let id = scheduler.admit(.normal, bytes: 1)
        issue(id, 1, .paused)
        #expect(scheduler.next() == nil)
        scheduler.finished(bytes: 1)
        #expect(scheduler.next() == nil)
        scheduler.resume(id, bytes: 2)
        issue(id, 2)
    }
}

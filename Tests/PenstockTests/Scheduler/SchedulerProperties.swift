import TestSupport
import Testing

@testable import Penstock

/// Thousands of random lives of a scheduler, each step checked against the model.
@Suite struct SchedulerProperties {
    @Test func everyDecisionHoldsToTheLimitsAndTheOrder() {
        forEachSeed("scheduler", count: 500) { random in
            var run = Run(&random)
            for _ in 0..<200 where run.complaint == nil { run.step(&random) }
            run.drain(&random)
            #expect(run.complaint == nil, "seed \(random.seed)")
        }
    }

    private struct Run {
        var scheduler: Scheduler
        var model: SchedulerModel
        var complaint: String?

        init(_ random: inout SeededRandom) {
            let bytes = 1 + random.below(1 << 16)
            let pieces = 2 + random.below(20)
            let limits = Scheduler.Limits(
                bytes: bytes, urgentReserve: random.below(bytes), pieces: pieces, urgentPieces: pieces / 8,
                quantum: 1 + random.below(1 << 14), serial: random.chance(20))
            scheduler = Scheduler(limits)
            model = SchedulerModel(limits: limits)
        }

        /// Keeps the first complaint; what follows it follows from it.
        mutating func complain(_ message: String) {
            if complaint == nil { complaint = message }
        }

        mutating func step(_ random: inout SeededRandom) {
            switch random.below(100) {
            case 0..<20: admit(&random)
            case 20..<24: model.items.append(.barrier(scheduler.addBarrier()))
            case 24..<60: issue(&random)
            case 60..<85: finish(&random)
            case 85..<90: resume(&random)
            case 90..<94: drop(&random)
            case 94..<97: withdraw(&random)
            default: escalate(&random)
            }
            check()
        }

        private mutating func admit(_ random: inout SeededRandom) {
            let priority = StoragePriority.allCases.randomElement(using: &random)!
            let bytes = size(&random)
            let id = scheduler.admit(priority, bytes: bytes)
            if model.entries.contains(where: { $0.id == id }) { complain("\(id) was given out twice") }
            model.items.append(.entry(.init(id: id, priority: priority, next: bytes)))
        }

        private func size(_ random: inout SeededRandom) -> Int {
            random.chance(5) ? model.limits.bytes + random.below(100) : 1 + random.below(model.limits.bytes)
        }

        private mutating func issue(_ random: inout SeededRandom) {
            guard let id = scheduler.next() else { return }
            guard let entry = model.waiting.first(where: { $0.id == id }) else {
                return complain("\(id) is held back or has nothing to issue")
            }
            if !model.hasRoom(entry) { complain("no room for \(entry) beside \(model.bytesInFlight)") }
            if let better = model.waiting.first(where: { $0.priority > entry.priority }) {
                let due = model.limits.starvationFactor * max(entry.next!, 4096)
                // The head of the line is what is due; another entry of the same priority may be it.
                let least = model.waiting.filter { $0.priority == entry.priority }.map { max($0.next!, 4096) }.min()!
                if model.passedOver[Int(entry.priority.rawValue)] < min(due, model.limits.starvationFactor * least) {
                    complain("\(entry) went before \(better) without being due")
                }
            }
            let next: Int? = random.chance(50) ? size(&random) : nil
            let paused = next == nil && random.chance(50)
            for lower in 0..<Int(entry.priority.rawValue) { model.passedOver[lower] += max(entry.next!, 4096) }
            model.passedOver[Int(entry.priority.rawValue)] = 0
            model.pieces.append((id, entry.next!))
            model.update(id) {
                $0.next = next
                $0.isPaused = paused
                $0.inFlight += 1
            }
            scheduler.issued(id, bytes: entry.next!, rest: next.map { .piece($0) } ?? (paused ? .paused : .drained))
        }

        private mutating func finish(_ random: inout SeededRandom) {
            guard !model.pieces.isEmpty else { return }
            let piece = model.pieces.remove(at: random.below(model.pieces.count))
            scheduler.finished(bytes: piece.bytes)
            model.update(piece.id) { $0.inFlight -= 1 }
            guard let entry = model.entries.first(where: { $0.id == piece.id }) else { return }
            if entry.inFlight == 0, entry.next == nil, !entry.isPaused { retire(entry.id) }
        }

        private mutating func resume(_ random: inout SeededRandom) {
            guard let entry = model.entries.filter(\.isPaused).randomElement(using: &random) else { return }
            let bytes = size(&random)
            scheduler.resume(entry.id, bytes: bytes)
            model.update(entry.id) {
                $0.next = bytes
                $0.isPaused = false
            }
        }

        /// The entry issues nothing more, but its pieces are still in flight: a cancellation.
        private mutating func drop(_ random: inout SeededRandom) {
            guard let entry = model.waiting.filter({ $0.inFlight > 0 }).randomElement(using: &random) else { return }
            scheduler.proceed(entry.id, rest: .drained)
            model.update(entry.id) { $0.next = nil }
        }

        /// Nothing of the entry is in flight: it goes, wherever it stands.
        private mutating func withdraw(_ random: inout SeededRandom) {
            guard let entry = model.entries.filter({ $0.inFlight == 0 }).randomElement(using: &random) else { return }
            retire(entry.id)
        }

        private mutating func retire(_ id: Scheduler.EntryID) {
            scheduler.retire(id)
            model.remove(id)
        }

        private mutating func escalate(_ random: inout SeededRandom) {
            guard let entry = model.entries.randomElement(using: &random) else { return }
            let priority = StoragePriority.allCases.randomElement(using: &random)!
            scheduler.escalate(entry.id, to: priority)
            model.update(entry.id) { $0.priority = max($0.priority, priority) }
        }

        private mutating func check() {
            let reached = model.takeReached()
            if scheduler.takeReachedBarriers() != reached { complain("barriers: \(reached) should have been reached") }
            if scheduler.bytesInFlight != model.bytesInFlight { complain("bytes in flight") }
            if scheduler.piecesInFlight != model.pieces.count { complain("pieces in flight") }
            if scheduler.count != model.entries.count {
                complain("entries: \(scheduler.count), not \(model.entries.count)")
            }
            if model.pieces.isEmpty, !model.waiting.isEmpty {
                if scheduler.next() == nil {
                    complain("nothing is in flight, \(model.waiting.count) wait, and none may go")
                }
            }
        }

        /// Whatever the state, everything can end.
        mutating func drain(_ random: inout SeededRandom) {
            var steps = 0
            while complaint == nil, !(model.items.isEmpty && model.pieces.isEmpty) {
                if let id = scheduler.next() {
                    issue(&random)
                    model.update(id) { $0.isPaused = false }
                    scheduler.proceed(id, rest: .drained)
                    model.update(id) { $0.next = nil }
                } else if !model.pieces.isEmpty {
                    finish(&random)
                } else if let idle = model.open.first(where: { $0.next == nil }) {
                    retire(idle.id)
                }
                check()
                steps += 1
                if steps >= 10_000 { complain("it never drains") }
            }
            if !scheduler.isIdle { complain("not idle at the end") }
        }
    }
}

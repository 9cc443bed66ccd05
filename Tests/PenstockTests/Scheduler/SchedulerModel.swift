import TestSupport

@testable import Penstock

/// A scheduler's world in the plainest terms: what was admitted, in order, and what is in flight.
struct SchedulerModel {
    struct Entry {
        var id: Scheduler.EntryID
        var priority: StoragePriority
        /// The next piece's bytes; nil: paused or drained.
        var next: Int?
        var isPaused = false
        var inFlight = 0
    }

    enum Item {
        case entry(Entry)
        case barrier(Scheduler.BarrierID)
    }

    let limits: Scheduler.Limits
    /// What has not been retired or reached, in the order of admission.
    var items: [Item] = []
    var pieces: [(id: Scheduler.EntryID, bytes: Int)] = []
    /// Bytes that higher priorities issued since a priority last did.
    var passedOver = [Int](repeating: 0, count: StoragePriority.allCases.count)

    var bytesInFlight: Int { pieces.reduce(0) { $0 + $1.bytes } }

    var entries: [Entry] {
        items.compactMap { if case .entry(let entry) = $0 { entry } else { nil } }
    }

    /// The entries that no barrier holds back and, in serial mode, no other entry.
    var open: [Entry] {
        var open: [Entry] = []
        for item in items {
            guard case .entry(let entry) = item else { break }
            open.append(entry)
            if limits.serial { break }
        }
        return open
    }

    var waiting: [Entry] { open.filter { $0.next != nil } }

    func hasRoom(_ entry: Entry) -> Bool {
        let urgent = entry.priority == .urgent
        guard pieces.count < limits.pieces - (urgent ? 0 : limits.urgentPieces) else { return false }
        return bytesInFlight == 0
            || bytesInFlight + entry.next! <= limits.bytes - (urgent ? 0 : limits.urgentReserve)
    }

    mutating func update(_ id: Scheduler.EntryID, _ change: (inout Entry) -> Void) {
        for index in items.indices {
            guard case .entry(var entry) = items[index], entry.id == id else { continue }
            change(&entry)
            items[index] = .entry(entry)
        }
    }

    mutating func remove(_ id: Scheduler.EntryID) {
        items.removeAll { if case .entry(let entry) = $0 { entry.id == id } else { false } }
    }

    /// Barriers that nothing stands in front of any more.
    mutating func takeReached() -> [Scheduler.BarrierID] {
        var reached: [Scheduler.BarrierID] = []
        while case .barrier(let id)? = items.first {
            reached.append(id)
            items.removeFirst()
        }
        return reached
    }
}

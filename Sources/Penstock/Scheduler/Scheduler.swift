import DequeModule

/// Which call may issue its next piece: priorities, byte credits, barriers and fairness, without any I/O.
///
/// Events go in, decisions come out; the engine performs them. An *entry* is one suspended call (a read, a write, or one
/// priority's part of a batch), so there are never more of them than suspended callers. A *piece* is what the driver is
/// given: at most ``StorageQueue/Configuration/pieceSize`` bytes of one request.
///
/// Depth is a byte budget, not a count, since it is the bytes in flight that set the latency of an urgent request: 2 MiB
/// saturates a disk, and 8 MiB makes an urgent read wait four times as long for nothing.
package struct Scheduler {
    package struct Limits: Sendable {
        /// Bytes in flight, at most, urgent ones included.
        package var bytes: Int
        /// How many of those only urgent pieces may use.
        package var urgentReserve: Int
        /// Pieces in flight, at most.
        package var pieces: Int
        /// How many of those only urgent pieces may use.
        package var urgentPieces: Int
        /// After how many bytes an entry lets the next one of its priority have a turn.
        package var quantum: Int
        /// A waiting priority is served after higher ones have moved this many times its next piece.
        package var starvationFactor = 16
        /// One entry at a time, in order.
        package var serial: Bool

        package init(
            bytes: Int, urgentReserve: Int, pieces: Int, urgentPieces: Int, quantum: Int, serial: Bool = false
        ) {
            self.bytes = bytes
            self.urgentReserve = urgentReserve
            self.pieces = pieces
            self.urgentPieces = urgentPieces
            self.quantum = quantum
            self.serial = serial
        }
    }

    /// An admitted call. Numbers are used again after ``retire(_:)``.
    package struct EntryID: Hashable, Sendable { package let index: Int }
    /// A point in the order that everything admitted before must have passed.
    package struct BarrierID: Hashable, Sendable { package let number: UInt64 }

    /// What an entry has left after a piece.
    package enum Rest: Equatable, Sendable {
        /// The next piece, of this many bytes.
        case piece(Int)
        /// Something, but not until the engine says so with ``resume(_:bytes:)``.
        case paused
        /// Nothing.
        case drained
    }

    private enum Place { case free, held, ready, idle }

    private struct Entry {
        var place = Place.free
        var priority = StoragePriority.normal
        var next = -1
        var previous = -1
        var nextBytes = 0
        var turn = 0
    }

    private struct Line {
        var first = -1
        var last = -1
        /// Bytes that higher priorities have issued while this one had something to issue.
        var passedOver = 0
    }

    private enum Held { case entry(Int), barrier(BarrierID) }

    private var entries: [Entry] = []
    private var freeEntries: [Int] = []
    private var lines = [Line](repeating: Line(), count: StoragePriority.allCases.count)
    /// What stands behind a barrier, in order.
    private var held: Deque<Held> = []
    /// Entries in front of the barrier that have not been retired.
    private var open = 0
    private var nextBarrier: UInt64 = 0
    private var reached: [BarrierID] = []

    package let limits: Limits
    package private(set) var bytesInFlight = 0
    package private(set) var piecesInFlight = 0
    package private(set) var peakBytesInFlight = 0
    package private(set) var peakEntries = 0

    package init(_ limits: Limits) { self.limits = limits }

    /// Admitted and not retired.
    package var count: Int { entries.count - freeEntries.count }
    /// Whether something waits for room, a barrier or its turn.
    package var hasWaiting: Bool { mutating get { !held.isEmpty || lines.contains { $0.first >= 0 } } }
    package var isIdle: Bool { count == 0 && piecesInFlight == 0 && held.isEmpty }

    // MARK: Events

    package mutating func admit(_ priority: StoragePriority, bytes: Int) -> EntryID {
        let index = freeEntries.popLast() ?? entries.count
        let entry = Entry(place: .held, priority: priority, nextBytes: bytes)
        if index == entries.count { entries.append(entry) } else { entries[index] = entry }
        peakEntries = max(peakEntries, count)
        if held.isEmpty, !(limits.serial && open > 0) {
            open += 1
            makeReady(index)
        } else {
            held.append(.entry(index))
        }
        return EntryID(index: index)
    }

    /// Everything admitted from now on waits until everything admitted before has been retired.
    /// - Returns: The barrier, which ``takeReachedBarriers()`` names once that is so.
    package mutating func addBarrier() -> BarrierID {
        nextBarrier += 1
        held.append(.barrier(BarrierID(number: nextBarrier)))
        advance()
        return BarrierID(number: nextBarrier)
    }

    package mutating func takeReachedBarriers() -> [BarrierID] {
        guard !reached.isEmpty else { return [] }
        defer { reached = [] }
        return reached
    }

    /// The entry has issued a piece of `bytes` bytes.
    package mutating func issued(_ id: EntryID, bytes: Int, rest: Rest) {
        bytesInFlight += bytes
        piecesInFlight += 1
        peakBytesInFlight = max(peakBytesInFlight, bytesInFlight)
        let priority = entries[id.index].priority
        for lower in 0..<Int(priority.rawValue) where lines[lower].first >= 0 {
            lines[lower].passedOver += max(bytes, 4096)
        }
        lines[Int(priority.rawValue)].passedOver = 0
        entries[id.index].turn += max(bytes, 1)
        proceed(id, rest: rest)
    }

    /// The entry's next piece has changed without one being issued.
    package mutating func proceed(_ id: EntryID, rest: Rest) {
        switch rest {
        case .piece(let bytes):
            entries[id.index].nextBytes = bytes
            if entries[id.index].turn >= limits.quantum, entries[id.index].place == .ready {
                unlink(id.index)
                link(id.index)
            }
        case .paused, .drained:
            if entries[id.index].place == .ready {
                unlink(id.index)
                entries[id.index].place = .idle
            }
        }
    }

    /// A paused entry has a piece again.
    package mutating func resume(_ id: EntryID, bytes: Int) {
        guard entries[id.index].place == .idle else { return }
        entries[id.index].nextBytes = bytes
        makeReady(id.index)
    }

    /// A piece has come back, with whatever result.
    package mutating func finished(bytes: Int) {
        bytesInFlight -= bytes
        piecesInFlight -= 1
        assert(bytesInFlight >= 0 && piecesInFlight >= 0)
    }

    /// All of the entry's pieces have come back and it wants no more.
    package mutating func retire(_ id: EntryID) {
        switch entries[id.index].place {
        case .ready: unlink(id.index)
        case .held:
            held.removeAll { if case .entry(id.index) = $0 { true } else { false } }
            // It was not in front of a barrier yet.
            open += 1
        case .idle: break
        case .free: preconditionFailure("entry \(id.index) was retired twice")
        }
        entries[id.index] = Entry()
        freeEntries.append(id.index)
        open -= 1
        advance()
    }

    /// The entry's priority has risen.
    package mutating func escalate(_ id: EntryID, to priority: StoragePriority) {
        guard priority > entries[id.index].priority else { return }
        let ready = entries[id.index].place == .ready
        if ready { unlink(id.index) }
        entries[id.index].priority = priority
        if ready { link(id.index) }
    }

    // MARK: Decisions

    /// The entry that may issue its next piece now, or nil: nothing waits, or there is no room in flight.
    ///
    /// Mutating only so that a class that holds the scheduler calls it in place: a copy of its four arrays costs more.
    package mutating func next() -> EntryID? {
        if let starving = starvingPriority() {
            if let entry = head(of: starving) { return entry }
            // The room that frees next is the starving one's; only the urgent have room of their own. They too stop when
            // that has not helped: an endless urgent stream would keep all the room taken for ever.
            return isOverdue(starving) ? nil : head(of: .urgent)
        }
        for priority in StoragePriority.allCases.reversed() where lines[Int(priority.rawValue)].first >= 0 {
            return head(of: priority)
        }
        return nil
    }

    /// How large the entry's next piece is, as far as the scheduler knows.
    package func announcedBytes(of id: EntryID) -> Int { entries[id.index].nextBytes }

    /// Whether one more piece of full size would have to wait.
    package var isFull: Bool { mutating get { !hasRoom(for: limits.quantum, .normal) } }

    private func head(of priority: StoragePriority) -> EntryID? {
        let index = lines[Int(priority.rawValue)].first
        guard index >= 0, hasRoom(for: entries[index].nextBytes, priority) else { return nil }
        return EntryID(index: index)
    }

    /// The lowest priority that has been passed over for too long. Each comes up rarely, so none keeps the others waiting.
    private func starvingPriority() -> StoragePriority? {
        for priority in StoragePriority.allCases {
            let line = lines[Int(priority.rawValue)]
            guard line.first >= 0, line.passedOver > 0 else { continue }
            if line.passedOver >= patience(of: line) { return priority }
        }
        return nil
    }

    /// How many bytes may pass over what stands first in the line.
    private func patience(of line: Line) -> Int { limits.starvationFactor * max(entries[line.first].nextBytes, 4096) }

    /// Whether a starving priority has waited as long again since it was due.
    private func isOverdue(_ priority: StoragePriority) -> Bool {
        let line = lines[Int(priority.rawValue)]
        return line.passedOver >= 2 * patience(of: line)
    }

    private func hasRoom(for bytes: Int, _ priority: StoragePriority) -> Bool {
        let urgent = priority == .urgent
        guard piecesInFlight < limits.pieces - (urgent ? 0 : limits.urgentPieces) else { return false }
        // A piece larger than the whole budget goes alone.
        return bytesInFlight == 0 || bytesInFlight + bytes <= limits.bytes - (urgent ? 0 : limits.urgentReserve)
    }

    // MARK: Lines

    private mutating func makeReady(_ index: Int) {
        entries[index].place = .ready
        link(index)
    }

    private mutating func link(_ index: Int) {
        let line = Int(entries[index].priority.rawValue)
        entries[index].turn = 0
        entries[index].next = -1
        entries[index].previous = lines[line].last
        if lines[line].last >= 0 { entries[lines[line].last].next = index } else { lines[line].first = index }
        lines[line].last = index
    }

    private mutating func unlink(_ index: Int) {
        let line = Int(entries[index].priority.rawValue)
        let (previous, next) = (entries[index].previous, entries[index].next)
        if previous >= 0 { entries[previous].next = next } else { lines[line].first = next }
        if next >= 0 { entries[next].previous = previous } else { lines[line].last = previous }
        if lines[line].first < 0 { lines[line].passedOver = 0 }
    }

    /// Lets what stood behind a barrier through, up to the next one.
    private mutating func advance() {
        while let first = held.first {
            switch first {
            case .barrier(let barrier):
                guard open == 0 else { return }
                reached.append(barrier)
            case .entry(let index):
                // Either no barrier stands in front of it any more, or the mode is serial and it is its turn.
                guard open == 0 || !limits.serial else { return }
                open += 1
                makeReady(index)
            }
            held.removeFirst()
        }
    }
}

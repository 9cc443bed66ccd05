import Synchronization

/// The slots of a ``HostQueue``: how many there are, how many are taken, and who waits for one.
final class SlotCount: Sendable {
    /// How often those who wait look whether there is one, in nanoseconds.
    private static let interval: UInt64 = 1_000_000

    let count: Int
    private let used = Atomic<Int>(0)
    private let gate = Gate()

    init(_ count: Int) { self.count = count }

    var free: Int { max(0, count - used.load(ordering: .relaxed)) }

    /// Takes a slot, if there is one.
    func take() -> Bool {
        if used.wrappingAdd(1, ordering: .relaxed).newValue <= count { return true }
        give()
        return false
    }

    /// Gives a slot back.
    func give() {
        let left = used.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue
        // Waking costs more than a small read: who waits is woken once there are some.
        if left == count - max(1, count / 4) { gate.wake() }
    }

    /// Many may have come back one by one, and been taken again.
    func wake() { gate.wake() }

    /// Blocks the thread until there is a slot, which others may take first.
    func wait() {
        // Looked at again now and then: there may be one, and never so many that somebody is woken for them.
        while !gate.wait(Self.interval, until: { used.load(ordering: .sequentiallyConsistent) < count }) {}
    }
}

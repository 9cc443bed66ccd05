/// How soon a request matters. The queue's own scheduling; the kernel's I/O priorities do not help here.
public enum StoragePriority: UInt8, Sendable, Comparable, CaseIterable, CustomStringConvertible {
    /// Prefetching, verification: whatever nobody waits for. Still gets about one byte in seventeen under load.
    case background
    /// What most requests are.
    case normal
    /// Someone will notice a delay.
    case high
    /// Someone is waiting now: the frame needs it. Room in flight is kept free for these.
    case urgent

    /// The priority for a task: `high` (and above) is `.high`, `low` and below are `.background`.
    ///
    /// `.urgent` is never taken from a task: Swift gives its highest priority to everything that the user waits for,
    /// and the reserved room is for what must not wait even then.
    public init(_ priority: TaskPriority) {
        if priority > .medium {
            self = .high
        } else if priority < .medium {
            self = .background
        } else {
            self = .normal
        }
    }

    /// Orders by importance.
    public static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }

    /// The case's name.
    public var description: String {
        switch self {
        case .background: "background"
        case .normal: "normal"
        case .high: "high"
        case .urgent: "urgent"
        }
    }
}

import Synchronization

/// Something sent to the ring thread. An object, so that a message is its own link in the inbox: sending allocates nothing.
class InboxMessage {
    // Written by the sender before the message is published, and by the ring thread after it has been taken.
    fileprivate final var next: UInt = 0

    init() {}

    /// The message has arrived; the ring thread calls this.
    func receive(in engine: Engine) { fatalError("a message says what it does") }

    /// The queue has shut down; any thread may call this.
    func refuse() { fatalError("a message says what it does") }
}

/// The ring thread's inbox: a lock-free stack of messages, taken whole and turned round, and a locked list of jobs.
///
/// One word holds everything a sender must know: the newest message, whether jobs wait, and whether the thread is parked
/// or has stopped. So exactly one sender finds it parked and wakes it; all others pay one compare-and-swap.
///
/// Jobs have no link of their own that Swift lets an executor use, hence the list. They come this way only from other
/// threads; what the ring thread enqueues for itself does not pass through here.
final class Inbox: Sendable {
    /// What the thread was doing when something arrived.
    enum Recipient { case awake, parked, stopped }

    private static let jobsBit: UInt = 1
    private static let parkedBit: UInt = 2
    private static let stoppedBit: UInt = 4
    private static let flags: UInt = 7  // objects are aligned to 16 bytes

    private let head = Atomic<UInt>(0)
    private let jobs = Locked<[JobLoop.Job]>([])

    /// Sends a message, which the inbox retains until it has been taken.
    func send(_ message: InboxMessage) -> Recipient {
        let pointer = UInt(bitPattern: Unmanaged.passRetained(message).toOpaque())
        var old = head.load(ordering: .relaxed)
        while true {
            message.next = old & ~Self.flags
            let (exchanged, original) = head.weakCompareExchange(
                expected: old, desired: pointer | (old & Self.jobsBit),
                successOrdering: .acquiringAndReleasing, failureOrdering: .relaxed)
            if exchanged { return Self.recipient(old) }
            old = original
        }
    }

    /// Sends a job.
    func send(_ job: JobLoop.Job) -> Recipient {
        jobs.withLock { $0.append(job) }
        var old = head.load(ordering: .relaxed)
        while true {
            let pointer = old & ~Self.flags
            let (exchanged, original) = head.weakCompareExchange(
                expected: old, desired: pointer | Self.jobsBit,
                successOrdering: .acquiringAndReleasing, failureOrdering: .relaxed)
            if exchanged { return Self.recipient(old) }
            old = original
        }
    }

    /// Whether anything has arrived. Cheap enough to spin on.
    var isEmpty: Bool { head.load(ordering: .relaxed) == 0 }

    /// Takes all messages, oldest first. Returns whether jobs wait too, for ``takeJobs(into:)``.
    func takeMessages(_ receive: (InboxMessage) -> Void) -> Bool {
        guard !isEmpty else { return false }
        let taken = head.exchange(0, ordering: .acquiringAndReleasing)
        var newest = taken & ~Self.flags
        var oldest: UInt = 0
        while newest != 0 {
            let message = Self.message(newest)
            let next = message._withUnsafeGuaranteedRef { $0.next }
            message._withUnsafeGuaranteedRef { $0.next = oldest }
            oldest = newest
            newest = next
        }
        while oldest != 0 {
            let message = Self.message(oldest).takeRetainedValue()
            oldest = message.next
            message.next = 0
            receive(message)
        }
        return taken & Self.jobsBit != 0
    }

    /// Moves the jobs to the end of `list`.
    func takeJobs(into list: inout [JobLoop.Job]) {
        jobs.withLock { jobs in
            list.append(contentsOf: jobs)
            jobs.removeAll(keepingCapacity: true)
        }
    }

    /// Announces that the thread is about to park. False when something has arrived meanwhile.
    func park() -> Bool { leave(.parked) }
    /// Announces that the thread is about to end. False when something has arrived meanwhile.
    func stop() -> Bool { leave(.stopped) }

    private func leave(_ state: Recipient) -> Bool {
        head.compareExchange(
            expected: 0, desired: state == .parked ? Self.parkedBit : Self.stoppedBit,
            ordering: .acquiringAndReleasing
        ).exchanged
    }

    /// The thread is back from parking, for whatever reason.
    func unpark() {
        _ = head.compareExchange(expected: Self.parkedBit, desired: 0, ordering: .acquiringAndReleasing)
    }

    private static func recipient(_ word: UInt) -> Recipient {
        word & stoppedBit != 0 ? .stopped : word & parkedBit != 0 ? .parked : .awake
    }

    private static func message(_ word: UInt) -> Unmanaged<InboxMessage> {
        Unmanaged.fromOpaque(UnsafeRawPointer(bitPattern: word)!)
    }
}

import Synchronization

/// One suspended call: its requests and who to tell.
///
/// Filled by the caller, then sent to the ring thread, which owns it until it has ended; then the caller's again. Used
/// again through ``SubmissionPool``, so that a call allocates nothing in steady state.
final class Submission: InboxMessage, @unchecked Sendable {
    /// Who hears of it.
    enum Delivery {
        case nobody
        /// A task that waits for everything.
        case task(UnsafeContinuation<Void, Never>)
        /// Called on the ring thread with each request as it ends, and with −1 at the very end.
        case observer((Submission, Int) -> Void)
    }

    let records: UnsafeMutablePointer<RequestRecord>
    let capacity: Int
    private(set) var count = 0
    var delivery = Delivery.nobody
    var submittedAt: UInt64 = 0
    var label: String?
    /// Objects that must live as long as the requests, where no suspended caller holds them.
    var keepAlive: [AnyObject] = []

    // The ring thread's part.
    var remaining = 0
    /// Tells a cancellation or a deadline of this use from one of the use before.
    private(set) var generation: UInt64 = 0

    /// It has ended. The continuation says so too, but the thread sanitizer cannot see what orders that one.
    let hasEnded = Atomic<Bool>(false)

    /// Someone sent a message about this submission that may arrive after its end: it must not be used again.
    let isReferenced = Atomic<Bool>(false)
    /// The task was cancelled, perhaps before the submission was sent.
    let isCancelledEarly = Atomic<Bool>(false)

    init(capacity: Int) {
        self.capacity = capacity
        records = .allocate(capacity: capacity)
    }

    deinit { records.deallocate() }  // a record is plain data

    func append(_ record: RequestRecord) {
        precondition(count < capacity)
        (records + count).initialize(to: record)
        count += 1
    }

    /// Groups the records by priority, the most important first, each group in the caller's order.
    func sortByPriority() {
        var all = UnsafeMutableBufferPointer(start: records, count: count)
        guard let first = all.first, all.contains(where: { $0.priority != first.priority }) else { return }
        all.sort { ($0.priority, $1.index) > ($1.priority, $0.index) }
    }

    func clear() {
        count = 0
        hasEnded.store(false, ordering: .relaxed)
        delivery = .nobody
        label = nil
        keepAlive.removeAll(keepingCapacity: true)
    }

    /// The last request has ended. On the ring thread.
    func end() {
        generation += 1
        switch delivery {
        case .nobody: break
        case .task(let continuation):
            hasEnded.store(true, ordering: .releasing)
            continuation.resume()
        case .observer(let observer): observer(self, -1)
        }
    }

    override func receive(in engine: Engine) { engine.admit(self) }

    override func refuse() {
        for index in 0..<count where !records[index].hasEnded {
            records[index].hasEnded = true
            records[index].outcome.failure = .queueClosed
            if case .observer(let observer) = delivery { observer(self, index) }
        }
        end()
    }
}

/// Submissions to be used again.
final class SubmissionPool: Sendable {
    private struct State {
        var single: [Submission] = []
        var batch: [Submission] = []
    }

    private static let keptSingles = 1024
    private static let keptBatches = 16
    private static let largestKeptBatch = 1024

    private let state = Locked(State())

    func take(_ count: Int) -> Submission {
        let pooled: Submission? = state.withLock { state in
            if count == 1 { return state.single.popLast() }
            guard let index = state.batch.lastIndex(where: { $0.capacity >= count }) else { return nil }
            return state.batch.remove(at: index)
        }
        return pooled ?? Submission(capacity: count)
    }

    func giveBack(_ submission: Submission) {
        guard !submission.isReferenced.load(ordering: .relaxed) else { return }
        submission.clear()
        state.withLock { state in
            if submission.capacity == 1 {
                if state.single.count < Self.keptSingles { state.single.append(submission) }
            } else if submission.capacity <= Self.largestKeptBatch, state.batch.count < Self.keptBatches {
                state.batch.append(submission)
            }
        }
    }
}

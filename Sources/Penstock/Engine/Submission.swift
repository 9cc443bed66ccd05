import Synchronization

/// One suspended call: its requests and who to tell.
///
/// Filled by the caller, then sent to the ring thread, which owns it until it has ended; then the caller's again. Used
/// again through ``SubmissionPool``, so that a call allocates nothing in steady state.
final class Submission: InboxMessage, @unchecked Sendable {
    /// Who hears of it.
    enum Delivery {
        case nobody
        /// A task that waits for everything, or may later.
        case joined
        /// A task that waits for everything.
        case task(UnsafeContinuation<Void, Never>)
        /// Called on the ring thread with each request as it ends, and with −1 at the very end.
        case observer((Submission, Int) -> Void)
        /// A host without tasks: the same, without a closure for each.
        case host(HostBatch)
    }

    let records: UnsafeMutablePointer<RequestRecord>
    let capacity: Int
    private(set) var count = 0
    var delivery = Delivery.nobody
    var submittedAt: UInt64 = 0
    var label: String?
    /// All its requests have landed on the caller's thread, or are readbacks: they go to their sink as one piece of work.
    var landing: Landing?
    /// Objects that must live as long as the requests, where no suspended caller holds them.
    var keepAlive: [AnyObject] = []

    // The ring thread's part.
    var remaining = 0
    /// Tells a cancellation or a deadline of this use from one of the use before.
    private(set) var generation: UInt64 = 0
    /// The generation in which a `.joined` submission was sent; the caller's alone.
    var sentGeneration: UInt64 = 0

    /// Where a `.joined` submission stands, and who waits for its end then.
    private let joint = Atomic<UInt8>(Joint.running)
    private var joining: UnsafeContinuation<Void, Never>?

    private enum Joint {
        static let running: UInt8 = 0
        static let awaited: UInt8 = 1
        static let over: UInt8 = 2
    }

    /// It has ended. The continuation says so too, but the thread sanitizer cannot see what orders that one.
    let hasEnded = Atomic<Bool>(false)

    /// Someone sent a message about this submission that may arrive after its end: it must not be used again.
    let isReferenced = Atomic<Bool>(false)
    /// The task was cancelled, perhaps before the submission was sent.
    let isCancelledEarly = Atomic<Bool>(false)

    /// Staging memory on the way between the caller's thread and a sink.
    struct Landing {
        var sink: Int
        /// Whose it is depends on the direction: of a read, the sink's once it has accepted it; of a readback, the caller's.
        /// Nil: it is a gate, or an earlier submission of the call has failed, and the sink is to leave things in order.
        var block: SlabArena.Block?
        /// The call waits for others before it takes anything.
        var isGate = false
        /// Other submissions of the same call follow.
        var isPart = false
        /// A sink has accepted it.
        var isHanded = false
    }

    /// Where each record's bytes have landed; made at the first use. A record's place here is its own.
    private(set) lazy var copies = UnsafeMutablePointer<SinkCopy>.allocate(capacity: capacity)
    private var hasCopies = false

    init(capacity: Int) {
        self.capacity = capacity
        records = .allocate(capacity: capacity)
    }

    deinit {
        // Records and copies are plain data.
        records.deallocate()
        if hasCopies { copies.deallocate() }
    }

    /// Adds a request whose bytes are where `copy` says.
    func append(_ record: RequestRecord, _ copy: SinkCopy) {
        hasCopies = true
        (copies + count).initialize(to: copy)
        append(record)
    }

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
        joint.store(Joint.running, ordering: .relaxed)
        delivery = .nobody
        label = nil
        landing = nil
        keepAlive.removeAll(keepingCapacity: true)
    }

    /// Resumes the continuation once everything has ended: of a `.joined` submission, at any time after it was sent.
    func join(_ continuation: UnsafeContinuation<Void, Never>) {
        joining = continuation
        if joint.exchange(Joint.awaited, ordering: .acquiringAndReleasing) == Joint.over { continuation.resume() }
    }

    /// The last request has ended. On the ring thread.
    func end() {
        generation += 1
        switch delivery {
        case .nobody: break
        case .task(let continuation):
            hasEnded.store(true, ordering: .releasing)
            continuation.resume()
        case .joined:
            hasEnded.store(true, ordering: .releasing)
            if joint.exchange(Joint.over, ordering: .acquiringAndReleasing) == Joint.awaited { joining!.resume() }
        case .observer(let observer): observer(self, -1)
        case .host(let batch): batch.endAll()
        }
    }

    /// One request has ended.
    func tellOfEnd(_ index: Int) {
        switch delivery {
        case .observer(let observer): observer(self, index)
        case .host(let batch): batch.end(index)
        case .nobody, .joined, .task: break
        }
    }

    override func receive(in engine: Engine) { engine.admit(self) }

    override func refuse() {
        for index in 0..<count where !records[index].hasEnded {
            records[index].hasEnded = true
            records[index].outcome.failure = .queueClosed
            tellOfEnd(index)
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
    static let largestKeptBatch = 1024

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

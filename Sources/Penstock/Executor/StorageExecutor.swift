import Glibc
import Synchronization

/// The executor of a ``StorageQueue``: one thread that runs the queue's completion loop and, between two system calls, the
/// jobs of the actor and of every task that prefers it.
///
/// A task that prefers this executor reads without any change of thread, which makes small uncached reads several times
/// cheaper:
///
/// ```swift
/// await withTaskExecutorPreference(queue.executor) {
///     for asset in assets { try await queue.read(from: asset.file, into: asset.buffer) }
/// }
/// ```
///
/// Such a task must not block: while it computes, no completion is delivered.
public final class StorageExecutor: SerialExecutor, TaskExecutor {
    let inbox = Inbox()
    /// The thread that runs jobs now; 0 while there is none. A task compares itself with it, which only its own thread
    /// can find equal, so no order is needed.
    private let owner = Atomic<UInt>(0)
    /// The loop behind the executor, from before the first job or message can arrive until its thread ends.
    private let loop = Mutex<Engine?>(nil)
    private let bound = ThreadBound()

    /// What only the executor's own thread touches.
    private final class ThreadBound: @unchecked Sendable {  // every access follows an `isCurrent` check
        var arrived: [UnownedJob] = []
        var running: [UnownedJob] = []
    }

    init() {}

    /// Whether the caller runs on this executor's thread.
    var isCurrent: Bool { owner.load(ordering: .relaxed) == RingThread.currentID }

    func adopt(_ engine: Engine) { loop.withLock { $0 = engine } }

    /// The loop has ended, and must not be kept alive by what it keeps alive itself.
    func dismissLoop() { loop.withLock { $0 = nil } }

    // MARK: Jobs

    /// Hands the executor a job; Swift's runtime calls this.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent {
            bound.arrived.append(job)
        } else {
            deliver(inbox.send(job))
        }
    }

    /// Sends a message to the ring thread, waking it if it is parked.
    func send(_ message: InboxMessage) {
        deliver(inbox.send(message))
    }

    private func deliver(_ recipient: Inbox.Recipient) {
        switch recipient {
        case .awake: break
        // Under the lock: the thread may have woken by itself and be closing its driver.
        case .parked: loop.withLock { $0?.wake() }
        case .stopped: runAfterlife()
        }
    }

    /// Takes what has arrived. On the ring thread.
    func takeInbox(_ receive: (InboxMessage) -> Void) {
        if inbox.takeMessages(receive) { inbox.takeJobs(into: &bound.arrived) }
    }

    /// Whether jobs wait on this thread.
    var hasJobs: Bool { !bound.arrived.isEmpty }

    /// Runs the jobs that wait now; those they enqueue wait for the next turn, so that a turn is bounded.
    func runJobs() {
        guard hasJobs else { return }
        swap(&bound.arrived, &bound.running)
        for job in bound.running {
            job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
        }
        bound.running.removeAll(keepingCapacity: true)
    }

    // MARK: The thread's life

    /// The calling thread becomes the executor's.
    func enter() { owner.store(RingThread.currentID, ordering: .relaxed) }

    /// The calling thread stops being the executor's. False when something has arrived meanwhile.
    ///
    /// Jobs that wait on this thread go to the next one: a task that never stops yielding must not keep this one.
    func leave() -> Bool {
        let jobs = bound.arrived
        bound.arrived = []
        owner.store(0, ordering: .relaxed)
        guard inbox.stop() else {
            enter()
            bound.arrived = jobs
            return false
        }
        for job in jobs { deliver(inbox.send(job)) }
        return true
    }

    /// Serves what arrives after the thread has ended: an actor that is still referenced must still answer, and a task
    /// that still prefers this executor must still finish. A thread is started for as long as there is something to do.
    private func runAfterlife() {
        let body: @Sendable () -> Void = { [self] in
            enter()
            repeat {
                takeInbox { $0.refuse() }
                runJobs()
            } while hasJobs || !leave()
        }
        do throws(StorageError) {
            try RingThread(name: "penstock-late", body).detach()
        } catch {
            // Without a thread the caller's own must do; a job that never runs would hang its task for ever.
            body()
        }
    }

    // MARK: Isolation

    /// Traps when the caller is not on this executor's thread.
    public func checkIsolated() {
        precondition(isCurrent, "not on the storage queue's executor")
    }

    /// Whether the caller runs on this executor's thread.
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }

    /// The executor as an actor's.
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    /// The executor as a task's.
    public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }
}

import Synchronization

/// What a ``StorageExecutor`` is made of: the inbox, the jobs of its thread, and the thread's end.
final class JobLoop: Sendable {
    /// A job, and the executor in whose name it is run.
    enum Job: Sendable {
        case actors(UnownedJob, UnownedSerialExecutor)
        case tasks(UnownedJob, UnownedTaskExecutor)
    }

    let inbox = Inbox()
    /// The thread that runs jobs now; 0 while there is none. A caller compares itself with it, which only the thread
    /// itself can find equal, so no order is needed.
    private let owner = Atomic<UInt>(0)
    /// The engine that the thread drives, from before the first message can arrive until the thread ends.
    private let engine = Locked<Engine?>(nil)
    private let bound = ThreadBound()

    /// What only the loop's own thread touches.
    private final class ThreadBound: @unchecked Sendable {  // every access follows an `isCurrent` check
        #if !DEBUG
        @exclusivity(unchecked)
        #endif
        var arrived: [Job] = []
        #if !DEBUG
        @exclusivity(unchecked)
        #endif
        var running: [Job] = []
        var isRunning = false
    }

    /// Whether the caller runs on this loop's thread.
    var isCurrent: Bool { owner.load(ordering: .relaxed) == RingThread.currentID }

    func adopt(_ engine: Engine) { self.engine.withLock { $0 = engine } }

    /// The engine has ended, and must not be kept alive by what it keeps alive itself.
    func dismissEngine() { engine.withLock { $0 = nil } }

    // MARK: Arrivals

    func enqueue(_ job: Job) {
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
        case .parked: engine.withLock { $0?.wake() }
        case .stopped: runAfterlife()
        }
    }

    // MARK: On the thread

    /// Takes what has arrived.
    func takeInbox(_ receive: (InboxMessage) -> Void) {
        if inbox.takeMessages(receive) { inbox.takeJobs(into: &bound.arrived) }
    }

    /// Whether jobs wait on this thread.
    var hasJobs: Bool { !bound.arrived.isEmpty }

    /// Whether the caller is one of this thread's jobs, and so may use the engine at once.
    var isRunningCaller: Bool { isCurrent && bound.isRunning }

    /// Runs the jobs that wait now; those they enqueue wait for the next turn, so that a turn is bounded.
    func runJobs() {
        guard hasJobs else { return }
        swap(&bound.arrived, &bound.running)
        bound.isRunning = true
        defer { bound.isRunning = false }
        for job in bound.running {
            switch job {
            case .actors(let job, let executor): job.runSynchronously(on: executor)
            case .tasks(let job, let executor): job.runSynchronously(on: executor)
            }
        }
        bound.running.removeAll(keepingCapacity: true)
    }

    /// The calling thread becomes the loop's.
    func enter() { owner.store(RingThread.currentID, ordering: .relaxed) }

    /// The calling thread stops being the loop's. False when something has arrived meanwhile.
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
}

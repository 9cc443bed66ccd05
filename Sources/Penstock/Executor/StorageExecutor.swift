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
public final class StorageExecutor: TaskExecutor {
    let loop = JobLoop()
    /// The same thread as an actor's executor: the queue's own, and that of any actor of yours that is to share it.
    ///
    /// An object of its own because Swift must be told in which role a job is run: a task's job run as an actor's would be
    /// enqueued a second time at its first suspension, which doubles the cost of a small read.
    public let serial: Serial

    init() { serial = Serial(loop) }

    /// Hands the executor a task's job; Swift's runtime calls this.
    public func enqueue(_ job: consuming ExecutorJob) {
        loop.enqueue(.tasks(UnownedJob(job), asUnownedTaskExecutor()))
    }

    /// The executor as a task's; Swift's runtime calls this.
    public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }

    /// A ``StorageExecutor`` in the role of an actor's executor.
    public final class Serial: SerialExecutor {
        private let loop: JobLoop

        fileprivate init(_ loop: JobLoop) { self.loop = loop }

        /// Hands the executor an actor's job; Swift's runtime calls this.
        public func enqueue(_ job: consuming ExecutorJob) {
            loop.enqueue(.actors(UnownedJob(job), asUnownedSerialExecutor()))
        }

        /// Traps when the caller is not on the executor's thread.
        public func checkIsolated() {
            precondition(loop.isCurrent, "not on the storage queue's executor")
        }

        /// Whether the caller runs on the executor's thread.
        public func isIsolatingCurrentContext() -> Bool? { loop.isCurrent }

        /// The executor as an actor's; Swift's runtime calls this.
        public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
    }
}

import Dispatch

/// An executor for work that blocks, on Dispatch's threads: Swift's own task threads are as few as there are cores, and one
/// that sleeps in a system call is missing from every other task.
///
///     await withTaskExecutorPreference(BlockingThreads.shared) { readSlowly() }
final class BlockingThreads: TaskExecutor {
    static let shared = BlockingThreads()

    private let queue = DispatchQueue(label: "blocking", attributes: .concurrent)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

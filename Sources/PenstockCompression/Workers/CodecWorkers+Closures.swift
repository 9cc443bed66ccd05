import Penstock
import Synchronization

extension CodecWorkers {
    /// Calls `body` with each number below `count`, on as many workers as there are, and returns when all calls have.
    ///
    /// - Parameters:
    ///   - priority: Nil: the task's, and it rises with it.
    ///   - deadline: When calls that have not begun are left out.
    /// - Throws: ``Penstock/StorageError/Code/cancelled``, or why else some calls were left out.
    package func perform(
        _ count: Int, priority: StoragePriority? = .normal, tag: UInt64 = 0,
        deadline: ContinuousClock.Instant? = nil,
        _ body: @escaping @Sendable (Int) -> Void
    ) async throws(StorageError) {
        guard count > 0 else { return }
        let work = ClosureWork(count, priority, tag, deadline, body)
        await run(work)
        if work.done.load(ordering: .relaxed) < count {
            throw StorageError(work.refused ?? .cancelled, .copy)
        }
    }
}

/// A closure that is called once for each part.
private final class ClosureWork: PartedWork, @unchecked Sendable {  // adds nothing that is not Sendable
    private let body: @Sendable (Int) -> Void
    let done = Atomic<Int>(0)

    init(
        _ count: Int, _ priority: StoragePriority?, _ tag: UInt64, _ deadline: ContinuousClock.Instant?,
        _ body: @escaping @Sendable (Int) -> Void
    ) {
        self.body = body
        super.init(
            partCount: count, priority: priority ?? StoragePriority(Task.currentPriority), followsTask: priority == nil,
            tag: tag, deadline: deadline)
    }

    override func perform(_ part: Int, _ scratch: borrowing WorkerScratch) {
        body(part)
        done.add(1, ordering: .relaxed)
    }
}

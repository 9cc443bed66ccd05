/// What another module keeps for a queue, as long as the queue lives: its threads, for instance.
package protocol QueueCompanion: AnyObject, Sendable {
    /// The queue shuts down: ends what has not begun, and takes nothing more. Any thread.
    func stop()
    /// Ends what has not begun and is tagged so; returns how much that was. Any thread.
    func cancel(tag value: UInt64, mask: UInt64) -> Int
    /// Suspends until what had begun has ended, after ``stop()``. Any number of tasks may wait.
    func ended() async
    /// Waits for its threads, after ``stop()``. Once.
    func join()
}

/// A queue's companions, at most one of each type.
final class CompanionTable: Sendable {
    private struct State {
        var companions: [any QueueCompanion] = []
        var isStopped = false
    }

    private let state = Locked(State())

    func stop() {
        let companions = state.withLock { state in
            state.isStopped = true
            return state.companions
        }
        companions.forEach { $0.stop() }
    }

    func cancel(tag value: UInt64, mask: UInt64) -> Int {
        state.withLock { $0.companions }.reduce(0) { $0 + $1.cancel(tag: value, mask: mask) }
    }

    func ended() async {
        for companion in state.withLock({ $0.companions }) { await companion.ended() }
    }

    func join() { state.withLock { $0.companions }.forEach { $0.join() } }

    /// The companion of that type, which is made if there is none.
    func find<Companion: QueueCompanion>(
        _ make: () throws(StorageError) -> Companion
    ) throws(StorageError) -> Companion {
        try state.withLock { state throws(StorageError) in
            for companion in state.companions where type(of: companion) == Companion.self {
                return unsafeDowncast(companion, to: Companion.self)  // the type has just been compared
            }
            guard !state.isStopped else { throw StorageError(.queueClosed, .setUp) }
            let companion = try make()
            state.companions.append(companion)
            return companion
        }
    }
}

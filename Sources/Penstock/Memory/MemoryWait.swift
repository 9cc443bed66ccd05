/// A task's place in the line for memory, and its cancellation, which may come before the place is known.
final class MemoryWait: Sendable {
    private enum State {
        case idle, waiting(UInt64), over
    }

    private let state = Locked(State.idle)

    func begin(in arena: SlabArena, _ size: Int, _ resume: @escaping @Sendable (SlabArena.Grant) -> Void) {
        let id = arena.whenAvailable(size, resume)
        let isCancelled = state.withLock { state in
            if case .over = state { return true }
            if let id { state = .waiting(id) }
            return false
        }
        if isCancelled, let id { arena.withdraw(id) }
    }

    func cancel(in arena: SlabArena) {
        let id: UInt64? = state.withLock { state in
            defer { state = .over }
            if case .waiting(let id) = state { return id }
            return nil
        }
        if let id { arena.withdraw(id) }
    }
}

import Penstock

/// Tests with a device take turns. The validation layer of Vulkan 1.3.239 looks its instances and devices up in tables that it
/// changes without a lock, so that making one crashes who uses another; and tests that wait for one another's processors by
/// looking again and again leave none to what they wait for.
final class GPUTurn: Sendable {
    static let shared = GPUTurn()

    private struct State {
        var isTaken = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Locked(State())

    func take() async {
        await withCheckedContinuation { continuation in
            let isMine = state.withLock { state in
                guard state.isTaken else {
                    state.isTaken = true
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if isMine { continuation.resume() }
        }
    }

    func end() {
        let next: CheckedContinuation<Void, Never>? = state.withLock { state in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.isTaken = false
            return nil
        }
        next?.resume()
    }
}

import Penstock
import Synchronization

/// Which of a batch's requests have failed or were cancelled: nothing more is begun for them.
final class RequestsOver: Sendable {
    private struct State {
        var failed: Set<Int> = []
        /// Whose failure nobody has told yet.
        var cancelled: Set<Int> = []
    }

    private let requests: [DecodingRequest]
    private let state = Locked(State())
    /// Whether there are any at all: mostly there are none.
    private let hasAny = Atomic<Bool>(false)

    init(_ requests: [DecodingRequest]) { self.requests = requests }

    /// A request has failed, and its failure is told.
    func end(_ request: Int) {
        state.withLock { _ = $0.failed.insert(request) }
        hasAny.store(true, ordering: .releasing)
    }

    /// Ends the requests whose tag has the value where the mask has ones.
    func cancel(tag value: UInt64, mask: UInt64) {
        let matching = requests.indices.filter { requests[$0].tag & mask == value }
        guard !matching.isEmpty else { return }
        state.withLock { $0.cancelled.formUnion(matching) }
        hasAny.store(true, ordering: .releasing)
    }

    /// Nil: one of these requests goes on. Else they are all over, and this is what is left to be told of them.
    func failures(unlessOver wanted: [Int]) -> [DecodeBatch.Failure]? {
        guard hasAny.load(ordering: .acquiring) else { return nil }
        return state.withLock { state in
            guard wanted.allSatisfy({ state.failed.contains($0) || state.cancelled.contains($0) }) else { return nil }
            return Set(wanted).subtracting(state.failed).map { ($0, requests[$0].error(.cancelled)) }
        }
    }
}

import Synchronization

/// A stretch of a ``HostQueue``'s requests, up to a marker, which fires once all of them and all before them have ended.
///
/// A chain: an epoch that is over lets go of the next one. So requests only count, and markers cost what they themselves do.
final class HostEpoch: @unchecked Sendable {
    // `marker` and `next` are written before `close` lets go, and read once all have let go.

    typealias Marker = @Sendable (StorageError.Code.Kind) -> StorageError.Code.Kind

    /// Requests that have not ended; one more until it is closed, and one more until the epoch before is over.
    private let remaining: Atomic<Int>
    private let failure = Atomic<UInt8>(0)
    private var marker: Marker?
    private var next: HostEpoch?

    init(isFirst: Bool) { remaining = Atomic(isFirst ? 1 : 2) }

    /// Requests have come. Before ``close(_:_:)``, in whose lock.
    func add(_ count: Int) { remaining.wrappingAdd(count, ordering: .relaxed) }

    /// A request has failed; the first one is remembered.
    func fail(_ kind: StorageError.Code.Kind) {
        _ = failure.compareExchange(expected: 0, desired: kind.rawValue, ordering: .relaxed)
    }

    /// Nothing more comes.
    ///
    /// - Parameter marker: What to do when it is over. Gets the first failure since the last marker that has answered
    ///   `.none`, and answers what the next one is to hear of it. On the ring thread, or the caller's if all is over already.
    func close(_ next: HostEpoch, _ marker: @escaping Marker) {
        self.marker = marker
        self.next = next
        release()
    }

    /// One has ended, or another reason to go on has gone.
    func release() {
        var epoch = self
        while epoch.remaining.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
            let first = StorageError.Code.Kind(rawValue: epoch.failure.load(ordering: .relaxed)) ?? .other
            // Closed, or it would not be over.
            let carried = epoch.marker!(first)
            epoch.marker = nil
            let next = exchange(&epoch.next, with: nil)!
            if carried != .none { next.inherit(carried) }
            epoch = next
        }
    }

    /// What came before this epoch's own requests is the first, whatever they have done meanwhile.
    private func inherit(_ kind: StorageError.Code.Kind) { failure.store(kind.rawValue, ordering: .relaxed) }
}

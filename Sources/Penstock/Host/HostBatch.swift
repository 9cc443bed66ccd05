import CLinux

/// Requests that a ``HostQueue`` sends with one message, and what is to be remembered of each.
///
/// Filled under its queue's lock, then the ring thread's until the last of them has ended, then back in the pool.
final class HostBatch: @unchecked Sendable {  // handed from one to the other as described
    /// What a record does not say: it is kept alive by whom, and who hears of its end.
    struct Entry {
        var file: StorageFile
        /// A device's memory.
        var slice: SinkSlice?
        var payload: HostRequest.Payload
    }

    /// Which sizes there are: most batches are either full or very small.
    static let capacities: InlineArray<4, Int> = [1, 8, 32, 256]
    static let largest = 256

    let sizeClass: Int
    let submission: Submission
    private let entries: UnsafeMutablePointer<Entry>
    /// While it is in flight.
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var owner: HostQueue?
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var epoch: HostEpoch?

    init(sizeClass: Int) {
        self.sizeClass = sizeClass
        submission = Submission(capacity: Self.capacities[sizeClass])
        entries = .allocate(capacity: submission.capacity)
    }

    deinit {
        entries.deinitialize(count: submission.count)
        entries.deallocate()
    }

    var count: Int { submission.count }
    var isFull: Bool { submission.count == submission.capacity }

    func append(_ record: RequestRecord, _ entry: consuming Entry) {
        (entries + submission.count).initialize(to: entry)
        submission.append(record)
    }

    /// Takes over all that another batch holds.
    func absorb(_ other: HostBatch) {
        (entries + submission.count).moveInitialize(from: other.entries, count: other.count)
        for index in 0..<other.count { submission.append(other.submission.records[index]) }
        other.submission.clear()
    }

    /// Sends the batch to the ring thread.
    func send(for owner: HostQueue, in epoch: HostEpoch) {
        self.owner = owner
        self.epoch = epoch
        submission.delivery = .host(self)
        submission.submittedAt = linux_monotonic_ns()
        owner.core.executor.loop.send(submission)
    }

    func belongs(to queue: HostQueue) -> Bool { owner === queue }

    // MARK: On the ring thread, or on whichever finds the queue shut down

    func end(_ index: Int) {
        owner!.end(submission.records[index], (entries + index).pointee.payload, in: epoch!)
    }

    /// The last one has ended.
    func endAll() {
        entries.deinitialize(count: submission.count)
        submission.clear()
        epoch = nil
        let owner = exchange(&owner, with: nil)
        owner!.takeBack(self)
    }
}

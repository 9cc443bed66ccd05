import CLinux
import Synchronization

/// A queue for hosts without tasks: requests are enqueued without waiting, sent together, and each is reported by a call on
/// the ring thread. What the C interface translates to.
///
/// Any number of them share one ``StorageQueue``: its thread, its limits and its scheduler, in which each has a priority.
/// Nothing is allocated for a request once the queue has warmed up.
package final class HostQueue: Sendable {
    /// What ``enqueue(_:_:)`` does when all slots are taken.
    package enum WhenFull: Sendable {
        /// It blocks the caller's thread. Except in a callback, which nothing could end then: there it refuses.
        case block
        /// It refuses.
        case refuse
        /// It takes more slots, up to this many, and refuses then.
        case grow(limit: Int)
    }

    package struct Configuration: Sendable {
        /// Requests that have been enqueued and not reported, and calls of ``mark(accept:fire:)`` that have not fired, at most.
        package var capacity = 1024
        package var whenFull = WhenFull.block
        package var priority = StoragePriority.normal
        /// Called on the ring thread with each request that has ended, before anybody else hears of it.
        package var settle: @Sendable (borrowing HostCompletion) -> Void = { _ in }
        /// Called with each request that has ended and is to be reported: on the ring thread, or from ``HostDispatch``.
        package var report: @Sendable (borrowing HostCompletion) -> Void = { _ in }
        /// Nil: reported on the ring thread.
        package var dispatch: HostDispatch?

        package init() {}
    }

    /// Where a queue stands.
    package struct Status: Sendable {
        package var slots = 0
        package var slotsFree = 0
        package var bytesPending: UInt64 = 0
        package var completed: UInt64 = 0
        package var failed: UInt64 = 0
    }

    /// What has failed since the record was taken last.
    package struct ErrorRecord: Sendable {
        package var count: UInt64 = 0
        package var first: HostCompletion?
    }

    package static let largestCapacity = 1 << 20

    struct State {
        var open: HostBatch
        var epoch = HostEpoch(isFirst: true)
        /// The last end that somebody has asked for.
        var end: End?
        /// Nothing has been enqueued behind it.
        var endIsLast = false
        var isClosed = false
        var tasks: [UInt64: (tag: UInt64, task: Task<Void, Never>)] = [:]
        var nextTask: UInt64 = 0
        var spare: [[HostBatch]] = Array(repeating: [], count: HostBatch.capacities.count)
    }

    let core: QueueCore
    private var dispatch: HostDispatch? { configuration.dispatch }
    package let configuration: Configuration
    private let slots: SlotCount
    // Neither the batches nor the epoch are touched by anyone else while they are here.
    let state: Locked<State>
    /// Requests that are still to be reported, and markers that are still to fire.
    let outstanding = Atomic<Int>(0)
    let bytes = Atomic<UInt64>(0)
    private let completed = Atomic<UInt64>(0)
    private let failed = Atomic<UInt64>(0)
    private let errors = Locked(ErrorRecord())
    /// Who waits for something to be over.
    private let endGate = Gate()

    /// - Throws: ``StorageError/Code/invalidArgument`` for a capacity that makes no sense.
    package init(on queue: StorageQueue, _ configuration: Configuration) throws(StorageError) {
        var slots = configuration.capacity
        if case .grow(let limit) = configuration.whenFull { slots = limit }
        guard (1...Self.largestCapacity).contains(configuration.capacity), slots >= configuration.capacity,
            slots <= Self.largestCapacity
        else {
            throw StorageError(
                .invalidArgument, .setUp, message: "the capacity must be from 1 through \(Self.largestCapacity)")
        }
        guard !queue.core.isClosed.load(ordering: .relaxed) else { throw StorageError(.queueClosed, .setUp) }
        core = queue.core
        self.configuration = configuration
        self.slots = SlotCount(slots)
        state = Locked(State(open: HostBatch(sizeClass: HostBatch.capacities.count - 1)))
    }

    /// Whether the calling thread is inside a report, which must not wait for others.
    package var isReporting: Bool { core.executor.loop.isCurrent || dispatch?.isDelivering == true }

    /// Whether all requests have been reported.
    package var isIdle: Bool { outstanding.load(ordering: .sequentiallyConsistent) == 0 }

    /// Whether it has been closed, and all requests have been reported.
    package var isOver: Bool { state.withLock { $0.isClosed } && isIdle }

    package var status: Status {
        Status(
            slots: slots.count, slotsFree: slots.free, bytesPending: bytes.load(ordering: .relaxed),
            completed: completed.load(ordering: .relaxed), failed: failed.load(ordering: .relaxed))
    }

    // MARK: Enqueueing

    /// Checks a request and adds it to those that the next ``submit()`` sends; sooner where many have gathered.
    ///
    /// Does not wait, unless the queue is full and is to block then.
    /// - Parameter accept: Called once the request is certain to be taken, before anything can come of it.
    /// - Returns: False: the queue is full, and nothing has happened.
    /// - Throws: What is wrong with the request, which is not enqueued then and never reported.
    package func enqueue(_ request: borrowing HostRequest, accept: () -> Void) throws(StorageError) -> Bool {
        let operation: StorageError.Operation = request.isRead ? .read : .write
        guard request.length > 0 else {
            throw StorageError(
                .invalidArgument, operation, path: request.file.path, offset: request.offset, length: request.length,
                message: "a request must ask for at least one byte")
        }
        let transfer: Transfer
        var slice: SinkSlice?
        switch request.place {
        case .memory(let address, let length):
            transfer = try Transfer(operation, request.file, request.offset, address, length, core: core)
        case .device(let device):
            transfer = try Transfer(operation, request.file, request.offset, device, core: core)
            slice = device
        }
        if let slice, slice.options?.waits == true { return try enqueueWaiting(request, slice, accept) }
        var record = RequestRecord(
            request.isRead ? .read : .write, file: request.file, address: transfer.address, offset: transfer.offset,
            length: transfer.length, priority: configuration.priority)
        if let slice {
            record.sink = Int8(try core.sinkIndex(of: slice))
            record.target = slice.target
        }
        record.tag = request.tag
        record.deadline = request.deadline
        let admission = admit(record.length, accept) { state in
            state.open.append(record, HostBatch.Entry(file: request.file, slice: slice, payload: request.payload))
            if state.open.isFull { send(&state) }
        }
        switch admission {
        case .taken: return true
        case .full: return false
        case .closed: throw StorageError(.queueClosed, operation, path: request.file.path)
        }
    }

    /// What becomes of a request that wants to be taken.
    enum Admission { case taken, full, closed }

    /// Takes a request, if there is a slot for it and the queue is open.
    ///
    /// - Parameters:
    ///   - length: The bytes that count while it is pending.
    ///   - accept: Called once it is certain to be taken, before anything can come of it.
    ///   - add: Adds it to what is to be done.
    func admit(_ length: Int, _ accept: () -> Void, _ add: (inout State) -> Void) -> Admission {
        guard takeSlot() else { return .full }
        let isOpen = state.withLock { state in
            guard !state.isClosed else { return false }
            state.endIsLast = false
            accept()
            outstanding.wrappingAdd(1, ordering: .relaxed)
            bytes.wrappingAdd(UInt64(length), ordering: .relaxed)
            add(&state)
            return true
        }
        if isOpen { return .taken }
        slots.give()
        return .closed
    }

    /// Sends what has been enqueued.
    package func submit() {
        state.withLock { send(&$0) }
    }

    private func send(_ state: inout State) {
        let count = state.open.count
        guard count > 0 else { return }
        var batch = state.open
        let largest = HostBatch.capacities.count - 1
        let sizeClass = HostBatch.capacities.indices.first { HostBatch.capacities[$0] >= count } ?? largest
        let replacement = state.spare[sizeClass].popLast() ?? HostBatch(sizeClass: sizeClass)
        if sizeClass == largest {
            state.open = replacement
        } else {
            // Few requests in a large batch would hold its memory until the last of them has ended.
            replacement.absorb(batch)
            batch = replacement
        }
        state.epoch.add(count)
        // Under the lock: markers and cancellations that follow must find it sent.
        batch.send(for: self, in: state.epoch)
    }

    func takeBack(_ batch: HostBatch) {
        state.withLock { state in
            // What a full queue needs of the largest, and as much memory of the others at most.
            let kept = max(2, min(slots.count, 16_384) / HostBatch.capacities[batch.sizeClass])
            if state.spare[batch.sizeClass].count < kept { state.spare[batch.sizeClass].append(batch) }
        }
        // Where callbacks take each slot that they free, there may never be many.
        slots.wake()
    }

    private func takeSlot() -> Bool {
        while !slots.take() {
            guard case .block = configuration.whenFull, !isReporting else { return false }
            submit()
            slots.wait()
        }
        return true
    }

    // MARK: Ends

    /// A request has ended. On the ring thread, or on whichever finds the queue shut down.
    func end(_ record: borrowing RequestRecord, _ payload: HostRequest.Payload, in epoch: HostEpoch) {
        let outcome = record.outcome
        let completion = HostCompletion(
            failure: outcome.failure, errno: outcome.errno, deviceResult: outcome.deviceResult,
            isRead: record.direction == .read, count: outcome.failure == .none ? outcome.count : 0,
            offset: record.offset, length: record.length, tag: record.tag, payload: payload)
        end(completion, in: epoch)
    }

    func end(_ completion: HostCompletion, in epoch: HostEpoch) {
        bytes.wrappingSubtract(UInt64(completion.length), ordering: .relaxed)
        completed.wrappingAdd(1, ordering: .relaxed)
        if completion.failure != .none {
            failed.wrappingAdd(1, ordering: .relaxed)
            errors.withLock { errors in
                errors.count += 1
                if errors.first == nil { errors.first = completion }
            }
            epoch.fail(completion.failure)
        }
        configuration.settle(completion)
        if let dispatch {
            dispatch.add(completion, of: self)
        } else {
            report(completion)
        }
        epoch.release()
    }

    /// Reports a request: the slot first, so that the report can enqueue another.
    func report(_ completion: borrowing HostCompletion) {
        slots.give()
        configuration.report(completion)
        settleOutstanding()
    }

    private func settleOutstanding() {
        guard outstanding.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue == 0 else { return }
        endGate.wake()
        dispatch?.gate.wake()
    }

    // MARK: Markers, errors, cancelling, closing

    /// Does something once everything enqueued before has ended; sends what has been enqueued. Takes a slot until then.
    ///
    /// - Parameters:
    ///   - accept: Called once the marker is certain to fire, before it can.
    ///   - marker: Called when it is reached; see ``HostEpoch/close(_:_:)``.
    /// - Returns: False: the queue is full, and nothing has happened.
    package func mark(
        accept: () -> Void = {},
        fire marker: @escaping @Sendable (StorageError.Code.Kind) -> StorageError.Code.Kind
    ) throws(StorageError) -> Bool {
        guard takeSlot() else { return false }
        do throws(StorageError) {
            try addMarker({ _ in accept() }) { [slots] failure in
                // First: who hears of it may enqueue another.
                slots.give()
                return marker(failure)
            }
            return true
        } catch {
            slots.give()
            throw error
        }
    }

    private func addMarker(
        _ accept: (inout State) -> Void, _ marker: @escaping HostEpoch.Marker
    ) throws(StorageError) {
        let epochs: (closed: HostEpoch, next: HostEpoch)? = state.withLock { state in
            guard !state.isClosed else { return nil }
            send(&state)
            state.endIsLast = false
            accept(&state)
            // Until it has fired, closing the queue waits for it too.
            outstanding.wrappingAdd(1, ordering: .relaxed)
            let next = HostEpoch(isFirst: false)
            return (exchange(&state.epoch, with: next), next)
        }
        guard let (closed, next) = epochs else { throw StorageError(.queueClosed, .sync) }
        closed.close(next) { [self] failure in
            defer { settleOutstanding() }
            return marker(failure)
        }
    }

    /// Blocks until everything enqueued before has ended, and been reported if that is done on the ring thread.
    ///
    /// - Parameter timeout: Nanoseconds; `.max`: no limit.
    /// - Returns: False when the time has passed.
    package func wait(_ timeout: UInt64) throws(StorageError) -> Bool {
        // Who polls leaves one mark behind, whatever is enqueued meanwhile.
        if timeout == 0, isBeforeAnEnd() { return false }
        let end = try endOfAll()
        return endGate.wait(timeout) { end.isReached.load(ordering: .sequentiallyConsistent) }
    }

    /// Whether an end that was asked for earlier has not been reached; sends what has been enqueued.
    private func isBeforeAnEnd() -> Bool {
        state.withLock { state in
            guard !state.isClosed, let end = state.end, !end.isReached.load(ordering: .relaxed) else { return false }
            send(&state)
            return true
        }
    }

    /// The end of everything that has been enqueued: one for all who ask before there is more, however often.
    private func endOfAll() throws(StorageError) -> End {
        if let end = state.withLock({ $0.isClosed || !$0.endIsLast ? nil : $0.end }) { return end }
        let end = End()
        try addMarker({ ($0.end, $0.endIsLast) = (end, true) }) { [endGate] failure in
            end.isReached.store(true, ordering: .sequentiallyConsistent)
            endGate.wake()
            return failure
        }
        return end
    }

    /// Reached when everything in front of it has ended.
    final class End: Sendable {
        let isReached = Atomic<Bool>(false)
    }

    /// What has failed since the last call.
    package func takeErrors() -> ErrorRecord {
        errors.withLock { exchange(&$0, with: ErrorRecord()) }
    }

    /// Asks every request enqueued before to end whose tag, under the mask, is the value.
    package func cancel(tag value: UInt64, mask: UInt64) {
        submit()
        cancelTasks(tag: value, mask: mask)
        core.executor.loop.send(
            Errand(
                { [self] engine in engine.cancel(tag: value, mask: mask) { self.has($0) } }, refused: {}))
    }

    private func has(_ submission: Submission) -> Bool {
        if case .host(let batch) = submission.delivery { batch.belongs(to: self) } else { false }
    }

    /// Takes nothing more, sends what has been enqueued, and blocks until all of it has been reported: afterwards nothing
    /// is called again. In a report it does not wait; the last report is then the end.
    package func close() {
        state.withLock { state in
            guard !state.isClosed else { return }
            send(&state)
            state.isClosed = true
        }
        guard !isReporting else { return }
        guard let dispatch else {
            _ = endGate.wait { isIdle }
            return
        }
        while !isIdle {
            _ = dispatch.gate.wait { isIdle || dispatch.canDeliver }
            _ = dispatch.deliver(.max)
        }
    }
}

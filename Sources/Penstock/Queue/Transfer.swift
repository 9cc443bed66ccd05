import CLinux
import Glibc
import Synchronization
import SystemPackage

/// A request's parameters after they have been checked. Plain data: the call that it belongs to holds the file and the
/// memory, and a reference count shared by all cores is what a small read can least afford.
struct Transfer {
    unowned(unsafe) let file: StorageFile
    let descriptor: Int32
    /// Whether the page cache may be tried on the caller's thread.
    let mayBeCached: Bool
    var address: UnsafeMutableRawPointer
    var offset: UInt64
    var length: Int
    var slab: Int32

    /// The largest offset a file can have.
    static let largestOffset = UInt64(Int64.max)

    /// Checks everything that can be checked without the kernel.
    init(
        _ operation: StorageError.Operation, _ file: StorageFile, _ offset: UInt64, _ slice: HostBuffer.Slice,
        core: QueueCore
    ) throws(StorageError) {
        guard let address = slice.address else {
            throw StorageError(
                .invalidRange, operation, path: file.path, offset: offset, length: slice.count,
                message: "the slice \(slice.range) lies outside its buffer of \(slice.buffer.count) bytes")
        }
        let block = slice.buffer.storage.block.slab
        // The ring may know the slab only if it is one of its own queue's.
        let slab = slice.buffer.storage.arenaID == core.arenaID ? Int32(truncatingIfNeeded: block) : -1
        try self.init(operation, file, offset, address, slice.count, slab: slab, core: core)
    }

    init(
        _ operation: StorageError.Operation, _ file: StorageFile, _ offset: UInt64, _ address: UnsafeMutableRawPointer,
        _ length: Int, slab: Int32 = -1, core: QueueCore
    ) throws(StorageError) {
        func fail(_ code: StorageError.Code, _ message: String? = nil) -> StorageError {
            StorageError(code, operation, path: file.path, offset: offset, length: length, message: message)
        }
        guard file.coreID == ObjectIdentifier(core) else { throw fail(.foreignFile) }
        guard !core.isClosed.load(ordering: .relaxed) else { throw fail(.queueClosed) }
        guard !file.isClosed else { throw fail(.fileClosed) }
        guard offset <= Self.largestOffset, UInt64(length) <= Self.largestOffset - offset else {
            throw fail(.invalidRange)
        }
        guard file.access.contains(operation == .write ? .writeOnly : .readOnly) else {
            throw StorageError(
                .badDescriptor, operation, path: file.path, offset: offset, length: length, errno: .badFileDescriptor)
        }
        self.file = file
        descriptor = file.descriptor
        mayBeCached = file.caching == .automatic || file.caching == .buffered
        self.address = address
        self.offset = offset
        self.length = length
        self.slab = slab
    }
}

extension QueueCore {
    /// What is not cached of a request, and what the inline path has read of it.
    struct InlineResult {
        var count: Int
        /// Nothing more is to be done: all there, or the end of the file.
        var isComplete: Bool
        /// The pages were missing, rather than the read too large.
        var isCold: Bool
        /// Other tasks of this thread have waited long enough.
        var shouldYield = false

        static let nothing = InlineResult(count: 0, isComplete: false, isCold: false)
    }

    /// Reads what is in the page cache, on the caller's thread and without ever sleeping.
    ///
    /// - Parameter isWhole: False where the bytes go on afterwards, and the request ends, and is counted, elsewhere.
    func readCached(
        _ transfer: Transfer, _ priority: StoragePriority, isWhole: Bool = true
    ) throws(StorageError) -> InlineResult {
        guard inlineLimit > 0, transfer.mayBeCached else { return .nothing }
        // Of a larger read only the start is tried, to learn whether the file is cached.
        let wanted = transfer.length <= inlineLimit ? transfer.length : min(inlineLimit, 64 << 10)
        let recording = isWhole ? inlineRecorder.begin(priority) : nil
        let start = configuration.trace == nil ? 0 : linux_monotonic_ns()
        var count = 0
        while count < wanted {
            let result = linux_preadv2(
                transfer.descriptor, transfer.address + count, wanted - count, Int64(transfer.offset) + Int64(count),
                Int32(LINUX_RWF_NOWAIT))
            if result > 0 {
                count += result
                continue
            }
            if result == 0 { break }
            switch Int32(-result) {
            case EAGAIN: return InlineResult(count: count, isComplete: false, isCold: true)
            // Not known to this file system, or a signal: the driver decides.
            case EOPNOTSUPP, EINTR, ENOSYS, EINVAL: return InlineResult(count: count, isComplete: false, isCold: false)
            case let errno:
                let code: StorageError.Code = transfer.file.isClosed ? .fileClosed : .init(errno: errno)
                throw StorageError(
                    code, .read, path: transfer.file.path, offset: transfer.offset, length: transfer.length,
                    errno: Errno(rawValue: errno))
            }
        }
        let isComplete = count < wanted || count == transfer.length
        var shouldYield = false
        if isComplete, let recording {
            shouldYield = inlineRecorder.end(recording, bytes: count)
            if let trace = configuration.trace {
                trace(StorageTrace(inline: transfer, count: count, priority, capabilities.driver, start: start))
            }
        }
        return InlineResult(count: count, isComplete: isComplete, isCold: false, shouldYield: shouldYield)
    }

    /// Sends one request to the ring thread and waits for its end.
    ///
    /// Kept flat: each async function between the caller and the suspension costs a frame and a look at the task's
    /// executor, which together are dearer than all that the ring thread does.
    func perform(
        _ direction: RequestRecord.Direction, _ transfer: Transfer, after inline: InlineResult = .nothing,
        _ options: RequestOptions, mustBuffer: Bool = false
    ) async throws(StorageError) -> Int {
        let submission = prepare(direction, transfer, after: inline, options)
        submission.records[0].mustBuffer = mustBuffer
        if options.priority == nil, mayWait(submission) {
            await runFollowingTask(submission)
        } else {
            let generation = submission.generation
            await withTaskCancellationHandler {
                await withUnsafeContinuation { send(submission, $0) }
            } onCancel: {
                sendCancellation(submission, generation)
            }
        }
        precondition(submission.hasEnded.load(ordering: .acquiring), "resumed before the end")
        return try finish(submission, direction, transfer, after: inline)
    }

    /// Sends a batch and suspends the task until all of it has ended.
    func run(_ batch: Submission) async {
        await runFollowingTask(batch)
        precondition(batch.hasEnded.load(ordering: .acquiring), "resumed before the end")
    }

    /// Sends a batch, for whose end ``wait(for:)`` must be called.
    func start(_ batch: Submission) {
        batch.delivery = .joined
        batch.sentGeneration = batch.generation
        send(batch)
    }

    /// Suspends the task until a started batch has ended.
    func wait(for batch: Submission) async {
        // The ring thread may be done with it by now, and has changed the generation then.
        await followingTask(batch, batch.sentGeneration) { batch.join($0) }
        precondition(batch.hasEnded.load(ordering: .acquiring), "resumed before the end")
    }

    /// Suspends the task until the submission has ended, passing on its cancellation and its escalation.
    private func runFollowingTask(_ submission: Submission) async {
        await followingTask(submission, submission.generation) { send(submission, $0) }
    }

    private func followingTask(
        _ submission: Submission, _ generation: UInt64, _ suspend: (UnsafeContinuation<Void, Never>) -> Void
    ) async {
        await withTaskCancellationHandler {
            await withTaskPriorityEscalationHandler {
                await withUnsafeContinuation(suspend)
            } onPriorityEscalated: { [executor] _, priority in
                submission.isReferenced.store(true, ordering: .relaxed)
                executor.loop.send(Escalation(submission, generation: generation, to: StoragePriority(priority)))
            }
        } onCancel: {
            sendCancellation(submission, generation)
        }
    }

    /// Whether the submission may have to wait for others, so that its task's priority could rise meanwhile. A single
    /// piece that nothing waits in front of is on its way before that.
    private func mayWait(_ submission: Submission) -> Bool {
        engine.isBacklogged.load(ordering: .relaxed) || submission.records[0].length > configuration.pieceSize
    }

    private func prepare(
        _ direction: RequestRecord.Direction, _ transfer: Transfer, after inline: InlineResult,
        _ options: RequestOptions
    ) -> Submission {
        let submission = pool.take(1)
        var record = RequestRecord(
            direction, file: transfer.file, address: transfer.address + inline.count,
            offset: transfer.offset + UInt64(inline.count), length: transfer.length - inline.count,
            priority: options.priority ?? StoragePriority(Task.currentPriority))
        record.followsTask = options.priority == nil
        record.slab = transfer.slab
        record.isCold = inline.isCold
        record.tag = options.tag
        record.deadline = options.deadlineNanoseconds
        submission.append(record)
        submission.label = options.label
        return submission
    }

    private func finish(
        _ submission: Submission, _ direction: RequestRecord.Direction, _ transfer: Transfer,
        after inline: InlineResult
    ) throws(StorageError) -> Int {
        let outcome = submission.records[0].outcome
        pool.giveBack(submission)
        guard outcome.failure == .none else {
            throw StorageError(
                outcome, direction, transfer.file, offset: transfer.offset, length: transfer.length)
        }
        return inline.count + outcome.count
    }

    func send(_ submission: Submission, _ continuation: UnsafeContinuation<Void, Never>) {
        submission.delivery = .task(continuation)
        send(submission)
    }

    func send(_ submission: Submission) {
        let loop = executor.loop
        if loop.isRunningCaller {
            // A job of the ring thread's: no message, and this turn's time is near enough, except to set a deadline by.
            let isTimed = submission.count > 1 || submission.records[0].deadline != .max
            submission.submittedAt = isTimed ? linux_monotonic_ns() : engine.turnTime
            engine.admit(submission)
        } else {
            submission.submittedAt = linux_monotonic_ns()
            loop.send(submission)
        }
    }

    private func sendCancellation(_ submission: Submission, _ generation: UInt64) {
        // This may run before the submission is sent; the ring thread then finds it cancelled on arrival.
        submission.isReferenced.store(true, ordering: .relaxed)
        submission.isCancelledEarly.store(true, ordering: .releasing)
        executor.loop.send(Cancellation(submission, generation: generation))
    }
}

/// The parameters that a call rarely gives.
package struct RequestOptions {
    /// Nil: the task's, following its escalation.
    package var priority: StoragePriority?
    var tag: UInt64 = 0
    var label: String?
    /// From now; `.max`: none.
    package var deadlineNanoseconds: UInt64 = .max

    package init(_ priority: StoragePriority?, _ tag: UInt64, _ label: String?, _ deadline: ContinuousClock.Instant?) {
        self.priority = priority
        self.tag = tag
        self.label = label
        if let deadline { deadlineNanoseconds = Self.nanoseconds(until: deadline) }
    }

    /// What is left of the time, of options that were made then.
    func nanoseconds(leftSince begin: UInt64) -> UInt64 {
        guard deadlineNanoseconds != .max else { return .max }
        let passed = linux_monotonic_ns() - begin
        return deadlineNanoseconds > passed ? deadlineNanoseconds - passed : 0
    }

    static func nanoseconds(until deadline: ContinuousClock.Instant) -> UInt64 {
        let (seconds, attoseconds) = (deadline - .now).components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < 1 << 32 else { return .max }
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }
}

extension ContinuousClock.Instant {
    /// Whether it is near enough for a timer: what is centuries away is never.
    package var isForeseeable: Bool { RequestOptions.nanoseconds(until: self) != .max }
}

extension StorageError {
    init(
        _ outcome: RequestRecord.Outcome, _ direction: RequestRecord.Direction, _ file: StorageFile?, offset: UInt64?,
        length: Int
    ) {
        self.init(
            Code(outcome.failure), file == nil ? .copy : direction == .read ? .read : .write, path: file?.path,
            offset: offset, length: length,
            errno: outcome.errno == 0 ? nil : Errno(rawValue: outcome.errno),
            vulkanResult: outcome.deviceResult == 0 ? nil : outcome.deviceResult)
    }
}

import CLinux
import Glibc
import Synchronization
import SystemPackage

/// A request's parameters after they have been checked.
struct Transfer {
    var file: StorageFile
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
        let slab = slice.buffer.storage.arena === core.arena ? Int32(truncatingIfNeeded: block) : -1
        try self.init(operation, file, offset, address, slice.count, slab: slab, core: core)
    }

    init(
        _ operation: StorageError.Operation, _ file: StorageFile, _ offset: UInt64, _ address: UnsafeMutableRawPointer,
        _ length: Int, slab: Int32 = -1, core: QueueCore
    ) throws(StorageError) {
        func fail(_ code: StorageError.Code, _ message: String? = nil) -> StorageError {
            StorageError(code, operation, path: file.path, offset: offset, length: length, message: message)
        }
        guard file.core === core else { throw fail(.foreignFile) }
        guard !file.isClosed else { throw fail(.fileClosed) }
        guard offset <= Self.largestOffset, UInt64(length) <= Self.largestOffset - offset else {
            throw fail(.invalidRange)
        }
        guard file.access.contains(operation == .write ? .writeOnly : .readOnly) else {
            throw StorageError(
                .badDescriptor, operation, path: file.path, offset: offset, length: length, errno: .badFileDescriptor)
        }
        self.file = file
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
    }

    /// Reads what is in the page cache, on the caller's thread and without ever sleeping.
    func readInline(_ transfer: Transfer, _ priority: StoragePriority) throws(StorageError) -> InlineResult {
        let file = transfer.file
        guard inlineLimit > 0, file.caching != .direct, file.caching != .uncached else {
            return InlineResult(count: 0, isComplete: false, isCold: false)
        }
        // Of a larger read only the start is tried, to learn whether the file is cached.
        let wanted = transfer.length <= inlineLimit ? transfer.length : min(inlineLimit, 64 << 10)
        let start = linux_monotonic_ns()
        var count = 0
        while count < wanted {
            let result = linux_preadv2(
                file.descriptor, transfer.address + count, wanted - count, Int64(transfer.offset) + Int64(count),
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
                let code: StorageError.Code = file.isClosed ? .fileClosed : .init(errno: errno)
                throw StorageError(
                    code, .read, path: file.path, offset: transfer.offset, length: transfer.length,
                    errno: Errno(rawValue: errno))
            }
        }
        let isComplete = count < wanted || count == transfer.length
        if isComplete { inlineRecorder.record(priority, bytes: count, nanoseconds: linux_monotonic_ns() - start) }
        return InlineResult(count: count, isComplete: isComplete, isCold: false)
    }

    /// Sends one request to the ring thread and waits for its end.
    func perform(
        _ direction: RequestRecord.Direction, _ transfer: Transfer, skipping done: Int, isCold: Bool,
        _ options: RequestOptions
    ) async throws(StorageError) -> Int {
        let submission = pool.take(1)
        var record = RequestRecord(
            direction, file: transfer.file, address: transfer.address + done, offset: transfer.offset + UInt64(done),
            length: transfer.length - done, priority: options.priority ?? StoragePriority(Task.currentPriority))
        record.slab = transfer.slab
        record.isCold = isCold
        record.tag = options.tag
        record.deadline = options.deadlineNanoseconds
        submission.append(record)
        submission.label = options.label
        await run(submission, followsTask: options.priority == nil)
        let outcome = submission.records[0].outcome
        pool.giveBack(submission)
        guard outcome.failure == .none else {
            throw StorageError(
                outcome, direction, transfer.file, offset: transfer.offset, length: transfer.length)
        }
        return done + outcome.count
    }

    /// Sends a submission and suspends the task until all of it has ended, passing on cancellation and escalation.
    func run(_ submission: Submission, followsTask: Bool) async {
        let generation = submission.generation
        let executor = executor
        submission.submittedAt = linux_monotonic_ns()
        await withTaskCancellationHandler {
            if followsTask {
                await withTaskPriorityEscalationHandler {
                    await suspend(on: submission)
                } onPriorityEscalated: { _, priority in
                    submission.isReferenced.store(true, ordering: .relaxed)
                    executor.send(Escalation(submission, generation: generation, to: StoragePriority(priority)))
                }
            } else {
                await suspend(on: submission)
            }
        } onCancel: {
            // This may run before the submission is sent; the ring thread then finds it cancelled on arrival.
            submission.isReferenced.store(true, ordering: .relaxed)
            submission.isCancelledEarly.store(true, ordering: .releasing)
            executor.send(Cancellation(submission, generation: generation))
        }
    }

    private func suspend(on submission: Submission) async {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            submission.delivery = .task(continuation)
            executor.send(submission)
        }
    }
}

/// The parameters that a call rarely gives.
struct RequestOptions {
    /// Nil: the task's, following its escalation.
    var priority: StoragePriority?
    var tag: UInt64 = 0
    var label: String?
    /// From now; `.max`: none.
    var deadlineNanoseconds: UInt64 = .max

    init(_ priority: StoragePriority?, _ tag: UInt64, _ label: String?, _ deadline: ContinuousClock.Instant?) {
        self.priority = priority
        self.tag = tag
        self.label = label
        if let deadline { deadlineNanoseconds = Self.nanoseconds(until: deadline) }
    }

    static func nanoseconds(until deadline: ContinuousClock.Instant) -> UInt64 {
        let (seconds, attoseconds) = (deadline - .now).components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < 1 << 32 else { return .max }
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }
}

extension StorageError {
    init(
        _ outcome: RequestRecord.Outcome, _ direction: RequestRecord.Direction, _ file: StorageFile, offset: UInt64,
        length: Int
    ) {
        self.init(
            Code(outcome.failure), direction == .read ? .read : .write, path: file.path, offset: offset, length: length,
            errno: outcome.errno == 0 ? nil : Errno(rawValue: outcome.errno))
    }
}

import Synchronization
import SystemPackage

extension StorageQueue {
    /// Reads from a file into a slice of a buffer.
    ///
    /// Returns when the kernel is done with the memory, cancelled or not. What is in the page cache is read on the
    /// caller's own thread, with `preadv2(RWF_NOWAIT)`; the rest by the queue's driver.
    ///
    /// - Parameters:
    ///   - file: A file of this queue, open for reading.
    ///   - offset: Where to start, in bytes.
    ///   - slice: Where the bytes go; its length is how many are asked for.
    ///   - priority: How soon it matters; nil: the task's priority, following its escalation.
    ///   - deadline: When to give up, with ``StorageError/Code/deadlineExceeded``.
    ///   - tag: For ``cancel(tag:mask:)``.
    ///   - label: The request's name in traces.
    /// - Returns: The bytes read: fewer than asked only at the end of the file.
    /// - Throws: ``StorageError``; ``StorageError/Code/cancelled`` when the task was cancelled first.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, at offset: UInt64 = 0, into slice: HostBuffer.Slice,
        priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0,
        label: String? = nil
    ) async throws(StorageError) -> Int {
        let (transfer, inline) = try beginRead(file, offset, slice, priority)
        if inline.isComplete {
            if inline.shouldYield { await Task.yield() }
            return inline.count
        }
        return try await core.perform(.read, transfer, after: inline, RequestOptions(priority, tag, label, deadline))
    }

    /// Reads from a file into the whole of a buffer. See ``read(from:at:into:priority:deadline:tag:label:)-(_,_,HostBuffer.Slice,_,_,_,_)``.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, at offset: UInt64 = 0, into buffer: HostBuffer,
        priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0,
        label: String? = nil
    ) async throws(StorageError) -> Int {
        try await read(
            from: file, at: offset, into: buffer[...], priority: priority, deadline: deadline, tag: tag, label: label)
    }

    /// Reads from a file into any memory of the caller's.
    ///
    /// The memory is the caller's alone again when the call returns; the span's exclusive access sees to that.
    /// - Returns: The bytes read: fewer than asked only at the end of the file.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, at offset: UInt64 = 0, into span: inout MutableRawSpan,
        priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0,
        label: String? = nil
    ) async throws(StorageError) -> Int {
        // The span is held `inout` until the call returns, so its memory outlives the pointer.
        let (address, count) = span.withUnsafeMutableBytes { (UInt(bitPattern: $0.baseAddress), $0.count) }
        guard let pointer = UnsafeMutableRawPointer(bitPattern: address) else {
            // An empty span has no memory, but the request is still checked.
            let nowhere = UnsafeMutableRawPointer(bitPattern: 4096)!
            _ = try Transfer(.read, file, offset, nowhere, 0, core: core)
            return 0
        }
        let transfer = try Transfer(.read, file, offset, pointer, count, core: core)
        let inline = try core.readInline(transfer, priority)
        if inline.isComplete {
            if inline.shouldYield { await Task.yield() }
            return inline.count
        }
        return try await core.perform(.read, transfer, after: inline, RequestOptions(priority, tag, label, deadline))
    }

    /// Reads a range of a file into a fresh buffer.
    ///
    /// - Parameters:
    ///   - file: A file of this queue, open for reading.
    ///   - range: Which bytes; nil: from the start to where the file ends now.
    ///   - priority: How soon it matters; nil: the task's priority, following its escalation.
    ///   - deadline: When to give up, with ``StorageError/Code/deadlineExceeded``.
    ///   - tag: For ``cancel(tag:mask:)``.
    ///   - label: The request's name in traces.
    /// - Returns: A buffer of the bytes there are in the range.
    /// - Throws: ``StorageError``; ``StorageError/Code/memoryLimit`` when the range exceeds
    ///   ``Configuration/hostMemoryLimit``.
    public nonisolated func read(
        from file: StorageFile, _ range: Range<UInt64>? = nil, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil
    ) async throws(StorageError) -> HostBuffer {
        let bounds: Range<UInt64>
        if let range { bounds = range } else { bounds = 0..<(try await file.size()) }
        guard let length = Int(exactly: bounds.upperBound - bounds.lowerBound) else {
            throw StorageError(.invalidRange, .read, path: file.path, offset: bounds.lowerBound)
        }
        let buffer = try await core.allocate(length, operation: .read, path: file.path)
        let count = try await read(
            from: file, at: bounds.lowerBound, into: buffer[...], priority: priority, deadline: deadline, tag: tag,
            label: label)
        return buffer.prefix(count)
    }

    /// Writes a slice of a buffer into a file.
    ///
    /// The bytes are in the page cache (or on the disk, for a direct file) when the call returns; ``StorageFile/sync(_:)``
    /// makes them durable.
    /// - Returns: The bytes written: always as many as asked.
    /// - Throws: ``StorageError``; ``StorageError/Code/noSpace`` on a full disk, in which case a part may be written.
    @discardableResult
    public nonisolated func write(
        _ slice: HostBuffer.Slice, to file: StorageFile, at offset: UInt64 = 0, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil
    ) async throws(StorageError) -> Int {
        let transfer = try Transfer(.write, file, offset, slice, core: core)
        return try await core.write(transfer, RequestOptions(priority, tag, label, deadline))
    }

    /// Writes any memory of the caller's into a file. See ``write(_:to:at:priority:deadline:tag:label:)-(HostBuffer.Slice,_,_,_,_,_,_)``.
    @discardableResult
    public nonisolated func write(
        _ span: RawSpan, to file: StorageFile, at offset: UInt64 = 0, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil
    ) async throws(StorageError) -> Int {
        // The span is borrowed until the call returns, so its memory outlives the pointer; a write only reads it.
        let (address, count) = span.withUnsafeBytes { (UInt(bitPattern: $0.baseAddress), $0.count) }
        let pointer = UnsafeMutableRawPointer(bitPattern: address) ?? UnsafeMutableRawPointer(bitPattern: 4096)!
        let transfer = try Transfer(.write, file, offset, pointer, count, core: core)
        return try await core.write(transfer, RequestOptions(priority, tag, label, deadline))
    }

    /// A buffer of `byteCount` bytes from the queue's slabs, page-aligned; of unspecified content.
    ///
    /// Suspends while ``Configuration/hostMemoryLimit`` is used up. A task that holds buffers while it waits for another
    /// can wait for ever; take what is needed in one piece.
    /// - Throws: ``StorageError/Code/memoryLimit`` when it can never be had, ``StorageError/Code/cancelled``, and
    ///   ``StorageError/Code/queueClosed`` when the queue shuts down meanwhile.
    public nonisolated func allocate(byteCount: Int) async throws(StorageError) -> HostBuffer {
        try await core.allocate(byteCount, operation: .allocate, path: nil)
    }
}

extension StorageQueue {
    /// Checks a read and does what can be done of it at once. Not async, and not inlined into what is: there the compiler
    /// would count references to objects that all cores share, which takes a twentieth of a small read.
    @inline(never)
    private nonisolated func beginRead(
        _ file: StorageFile, _ offset: UInt64, _ slice: HostBuffer.Slice, _ priority: StoragePriority?
    ) throws(StorageError) -> (Transfer, QueueCore.InlineResult) {
        let transfer = try Transfer(.read, file, offset, slice, core: core)
        return (transfer, try core.readInline(transfer, priority))
    }
}

extension QueueCore {
    /// The part of a read that is done without suspending: the cancellation check, and what is in the page cache.
    func readInline(_ transfer: Transfer, _ priority: StoragePriority?) throws(StorageError) -> InlineResult {
        guard !Task.isCancelled else { throw cancelled(transfer, .read) }
        guard transfer.length > 0 else { return InlineResult(count: 0, isComplete: true, isCold: false) }
        return try readCached(transfer, priority ?? StoragePriority(Task.currentPriority))
    }

    func write(_ transfer: Transfer, _ options: RequestOptions) async throws(StorageError) -> Int {
        guard !Task.isCancelled else { throw cancelled(transfer, .write) }
        guard transfer.length > 0 else { return 0 }
        return try await perform(.write, transfer, options)
    }

    func cancelled(_ transfer: Transfer, _ operation: StorageError.Operation) -> StorageError {
        StorageError(
            .cancelled, operation, path: transfer.file.path, offset: transfer.offset, length: transfer.length)
    }

    /// A buffer if there is room for it now.
    package func allocateNow(_ count: Int) -> HostBuffer? {
        arena.take(count).map { HostBuffer(block: $0, count: count, arena: arena) }
    }

    /// Whether buffers of these sizes can ever be had together. A task that asks for one while it holds another needs to know.
    package func canHoldAtOnce(_ counts: Int...) -> Bool { arena.canEverHold(together: counts) }

    func allocate(
        _ count: Int, operation: StorageError.Operation, path: FilePath?
    ) async throws(StorageError) -> HostBuffer {
        guard count >= 0 else {
            throw StorageError(.invalidArgument, operation, path: path, length: count, message: "a negative size")
        }
        let block = try await take(count, from: arena, operation, path: path)
        return HostBuffer(block: block, count: count, arena: arena)
    }

    /// A block of at least `count` bytes; suspends until there is one, or so many nanoseconds have passed.
    func take(
        _ count: Int, from arena: SlabArena, _ operation: StorageError.Operation, path: FilePath?,
        within nanoseconds: UInt64 = .max
    ) async throws(StorageError) -> SlabArena.Block {
        guard !isClosed.load(ordering: .relaxed) else {
            throw StorageError(.queueClosed, operation, path: path, length: count)
        }
        if let block = arena.takeAsItIs(count) { return await touched(block) }
        guard arena.canEverHold(count) else {
            throw StorageError(.memoryLimit, operation, path: path, length: count)
        }
        let wait = MemoryWait()
        let isLate = LateFlag()
        let timer =
            nanoseconds == .max
            ? nil
            : Task {
                try? await Task.sleep(for: .nanoseconds(Int64(clamping: nanoseconds)))
                guard !Task.isCancelled else { return }
                isLate.value.store(true, ordering: .relaxed)
                wait.cancel(in: arena)
            }
        defer { timer?.cancel() }
        let grant = await withTaskCancellationHandler {
            await Answer.wait { answer in
                wait.begin(in: arena, count) { answer.give($0) }
            }
        } onCancel: {
            wait.cancel(in: arena)
        }
        switch grant {
        case .block(let block): return await touched(block)
        case .outOfMemory: throw StorageError(.outOfMemory, operation, path: path, length: count)
        case .withdrawn:
            let isClosed = isClosed.load(ordering: .relaxed)
            let isLate = isLate.value.load(ordering: .relaxed)
            throw StorageError(
                isClosed ? .queueClosed : isLate ? .deadlineExceeded : .cancelled, operation, path: path, length: count)
        }
    }

    /// The block, touched by another thread where the task's own is the ring's, which has others to serve.
    private func touched(_ block: SlabArena.Block) async -> SlabArena.Block {
        guard block.isFresh, executor.loop.isCurrent else { return block.touched() }
        return await Task.detached { block.touched() }.value
    }
}

/// Whether the time for something has passed.
private final class LateFlag: Sendable {
    let value = Atomic<Bool>(false)
}

import Penstock

extension StorageQueue {
    /// Reads from a file into a slice of a GPU buffer.
    ///
    /// Returns when the GPU's memory holds the bytes. Where the host sees that memory, the file is read straight into it;
    /// elsewhere it lands in staging memory and is copied, together with what other requests have landed meanwhile, by as
    /// few submissions as will do.
    ///
    /// - Parameters:
    ///   - file: A file of this queue, open for reading.
    ///   - offset: Where to start, in bytes.
    ///   - slice: Where the bytes go; its length is how many are asked for.
    ///   - priority: How soon it matters; nil: the task's priority, following its escalation.
    ///   - deadline: When to give up, with ``Penstock/StorageError/Code/deadlineExceeded``.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    ///   - label: The request's name in traces.
    ///   - synchronization: What to wait for and whom to tell on the GPU.
    /// - Returns: The bytes read: fewer than asked only at the end of the file.
    /// - Throws: ``Penstock/StorageError``; ``Penstock/StorageError/Code/deviceLost`` when the GPU is gone.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, at offset: UInt64 = 0, into slice: GPUBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        try await core.read(
            file, offset, into: try slice.synchronized(synchronization), RequestOptions(priority, tag, label, deadline))
    }

    /// Writes a slice of a GPU buffer into a file.
    ///
    /// What the GPU wrote to the buffer on the device's queue before is what is written; work on other queues must have
    /// ended, or be waited for.
    /// - Returns: The bytes written: always as many as asked.
    @discardableResult
    public nonisolated func write(
        _ slice: GPUBuffer.Slice, to file: StorageFile, at offset: UInt64 = 0, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        try await core.write(
            try slice.synchronized(synchronization), file, offset, RequestOptions(priority, tag, label, deadline))
    }

    /// Copies host memory into a slice of a GPU buffer of the same size.
    /// - Returns: The bytes copied.
    @discardableResult
    public nonisolated func read(
        from source: HostBuffer.Slice, into slice: GPUBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        guard let address = source.address, source.count == slice.count else {
            throw StorageError(sizes: source, slice.count)
        }
        return try await core.copy(
            address, into: try slice.synchronized(synchronization), RequestOptions(priority, tag, label, deadline))
    }

    /// Copies a slice of a GPU buffer into host memory of the same size.
    /// - Returns: The bytes copied.
    @discardableResult
    public nonisolated func write(
        _ slice: GPUBuffer.Slice, to destination: HostBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        guard let address = destination.address, destination.count == slice.count else {
            throw StorageError(sizes: destination, slice.count)
        }
        return try await core.copy(
            try slice.synchronized(synchronization), to: address, RequestOptions(priority, tag, label, deadline))
    }
}

extension StorageRequest {
    /// A read of `slice.count` bytes into a GPU buffer.
    public static func read(
        from file: StorageFile, at offset: UInt64 = 0, into slice: GPUBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) -> StorageRequest {
        StorageRequest(
            .read, file: file, offset: offset, place: .device(slice.sinkSlice()), priority: priority,
            deadline: deadline, tag: tag)
    }

    /// A write of `slice.count` bytes of a GPU buffer.
    public static func write(
        _ slice: GPUBuffer.Slice, to file: StorageFile, at offset: UInt64 = 0, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) -> StorageRequest {
        StorageRequest(
            .write, file: file, offset: offset, place: .device(slice.sinkSlice()), priority: priority,
            deadline: deadline, tag: tag)
    }
}

extension StorageError {
    init(sizes host: HostBuffer.Slice, _ count: Int) {
        self.init(
            .invalidRange, .copy, length: count,
            message: host.address == nil
                ? "the slice \(host.range) lies outside its buffer of \(host.buffer.count) bytes"
                : "\(host.count) bytes of host memory and \(count) of the GPU's; give slices of one size")
    }
}

extension GPUBuffer.Slice {
    /// The slice as the queue's core knows it, after a look at the semaphores.
    package func synchronized(_ synchronization: GPUSynchronization?) throws(StorageError) -> SinkSlice {
        guard let synchronization, !synchronization.isNone else { return sinkSlice() }
        try synchronization.check(buffer.device)
        return sinkSlice(synchronization)
    }

    package func sinkSlice(_ synchronization: GPUSynchronization? = nil, endsOnSubmit: Bool = false) -> SinkSlice {
        var options: SinkOptions?
        if endsOnSubmit || synchronization != nil {
            let synchronization = synchronization ?? GPUSynchronization()
            options =
                TransferDetails(
                    memory: buffer.storage, after: synchronization.after, signal: synchronization.signal,
                    newOwner: synchronization.newOwner, endsOnSubmit: endsOnSubmit, byteCount: count
                ).options
        }
        let isInside = range.lowerBound >= 0 && range.upperBound <= buffer.count
        return SinkSlice(
            device: buffer.device, memory: buffer.storage, handle: UInt64(UInt(bitPattern: buffer.storage.handle)),
            offset: UInt64(max(0, range.lowerBound)), count: count, options: options,
            problem: isInside ? nil : outside)
    }

    /// The slice as the destination of pages that the device decodes, which it must be able to: see
    /// ``Penstock/SinkDevice/canDecode(_:)``.
    ///
    /// - Parameter decoding: The pages; their destinations are counted from the slice's start.
    package func decodingSlice(
        _ decoding: SinkDecoding, _ synchronization: GPUSynchronization? = nil
    ) throws(StorageError) -> SinkSlice {
        let synchronization = synchronization ?? GPUSynchronization()
        try synchronization.check(buffer.device)
        let details = TransferDetails(
            memory: buffer.storage, after: synchronization.after, signal: synchronization.signal,
            newOwner: synchronization.newOwner, byteCount: count)
        let isInside = range.lowerBound >= 0 && range.upperBound <= buffer.count
        return SinkSlice(
            device: buffer.device, memory: buffer.storage, handle: UInt64(UInt(bitPattern: buffer.storage.handle)),
            offset: UInt64(max(0, range.lowerBound)), count: decoding.byteCount,
            options: details.options(decoding: decoding), problem: isInside ? nil : outside)
    }

    private var outside: StorageError {
        StorageError(
            .invalidRange, .copy, length: count,
            message: "the slice \(range) lies outside its buffer of \(buffer.count) bytes")
    }
}

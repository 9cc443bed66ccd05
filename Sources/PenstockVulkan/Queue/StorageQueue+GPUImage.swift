import Penstock

extension StorageQueue {
    /// Reads parts of an image from a file, through staging memory.
    ///
    /// - Parameters:
    ///   - file: A file of this queue, open for reading.
    ///   - offset: Where to start, in bytes.
    ///   - region: Which parts, in the order in which the file has them, and the layouts around the copies.
    ///   - priority: How soon it matters; nil: the task's priority, following its escalation.
    ///   - deadline: When to give up, with ``Penstock/StorageError/Code/deadlineExceeded``.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    ///   - label: The request's name in traces.
    ///   - synchronization: What to wait for and whom to tell on the GPU.
    /// - Returns: The bytes read: fewer than asked only at the end of the file, and then whole rows of texel blocks.
    /// - Throws: ``Penstock/StorageError``; ``Penstock/StorageError/Code/invalidRange`` for parts that the image does not
    ///   have, or that its format or the queue family does not allow.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, at offset: UInt64 = 0, into region: GPUImage.Region, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        let slice = try region.synchronized(synchronization)
        return try await core.read(file, offset, into: slice, RequestOptions(priority, tag, label, deadline))
    }

    /// Writes parts of an image into a file, as tightly as their row pitches say; bytes between rows are zero. The region
    /// names the layout that they are in.
    /// - Returns: The bytes written: always as many as asked.
    @discardableResult
    public nonisolated func write(
        _ region: GPUImage.Region, to file: StorageFile, at offset: UInt64 = 0, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        let slice = try region.synchronized(synchronization, isWrite: true)
        return try await core.write(slice, file, offset, RequestOptions(priority, tag, label, deadline))
    }

    /// Copies host memory into parts of an image.
    /// - Returns: The bytes copied.
    @discardableResult
    public nonisolated func read(
        from source: HostBuffer.Slice, into region: GPUImage.Region, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        let slice = try region.synchronized(synchronization)
        guard slice.problem != nil || source.count == region.count, let address = source.address else {
            throw StorageError(sizes: source, region.count)
        }
        return try await core.copy(address, into: slice, RequestOptions(priority, tag, label, deadline))
    }

    /// Copies parts of an image into host memory. The region names the layout that they are in.
    /// - Returns: The bytes copied.
    @discardableResult
    public nonisolated func write(
        _ region: GPUImage.Region, to destination: HostBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        let slice = try region.synchronized(synchronization, isWrite: true)
        guard slice.problem != nil || destination.count == region.count, let address = destination.address else {
            throw StorageError(sizes: destination, region.count)
        }
        return try await core.copy(slice, to: address, RequestOptions(priority, tag, label, deadline))
    }
}

extension StorageRequest {
    /// A read of parts of an image.
    public static func read(
        from file: StorageFile, at offset: UInt64 = 0, into region: GPUImage.Region, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) -> StorageRequest {
        StorageRequest(
            .read, file: file, offset: offset, place: .device(region.sinkSlice()), priority: priority,
            deadline: deadline, tag: tag)
    }

    /// A write of parts of an image.
    public static func write(
        _ region: GPUImage.Region, to file: StorageFile, at offset: UInt64 = 0, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) -> StorageRequest {
        StorageRequest(
            .write, file: file, offset: offset, place: .device(region.sinkSlice(isWrite: true)), priority: priority,
            deadline: deadline, tag: tag)
    }
}

extension GPUImage.Region {
    package func synchronized(
        _ synchronization: GPUSynchronization?, isWrite: Bool = false
    ) throws(StorageError) -> SinkSlice {
        try synchronization?.check(image.device)
        return sinkSlice(synchronization, isWrite: isWrite)
    }
}

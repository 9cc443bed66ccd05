public import Penstock
import PenstockCompression

extension StorageArchive {
    /// Reads an entry, or a part of it, into memory. Only the chunks are read that have bytes of the part.
    ///
    /// - Parameters:
    ///   - entry: One of the archive's entries.
    ///   - offset: Where to start, in uncompressed bytes.
    ///   - slice: Where the bytes go; its length is how many are asked for.
    ///   - priority: How soon it matters; nil: the task's priority.
    ///   - deadline: When to give up. A chunk that is being decoded is finished first.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    /// - Returns: The bytes read: fewer than asked only at the end of the entry.
    /// - Throws: ``ArchiveError``: ``ArchiveError/Code/checksumMismatch`` and ``ArchiveError/Code/undecodable`` for damage,
    ///   ``ArchiveError/Code/invalidRange`` for an offset behind the entry's end, ``ArchiveError/Code/storage`` for what the
    ///   queue refuses, such as a deadline that has passed. What the slice holds is then unspecified.
    @discardableResult
    public func read(
        _ entry: ArchiveEntry, at offset: UInt64 = 0, into slice: HostBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(ArchiveError) -> Int {
        let read = ArchiveRead(entry, at: offset, into: slice, priority: priority, deadline: deadline, tag: tag)
        return try await perform([read])[0].get()
    }

    /// Reads an entry, or a part of it, into a device's memory, such as a slice of a GPU's buffer or parts of its image.
    ///
    /// - Parameters:
    ///   - entry: One of the archive's entries.
    ///   - offset: Where to start, in uncompressed bytes.
    ///   - memory: Where the bytes go: as many as it has, which the entry must have from there on.
    ///   - priority: How soon it matters; nil: the task's priority.
    ///   - deadline: When to give up. A chunk that is being decoded is finished first.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    /// - Returns: The bytes read.
    /// - Throws: ``ArchiveError``. What the memory holds is then unspecified.
    @discardableResult
    public func read(
        _ entry: ArchiveEntry, at offset: UInt64 = 0, into memory: some DeviceMemory, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(ArchiveError) -> Int {
        let read = ArchiveRead(entry, at: offset, into: memory, priority: priority, deadline: deadline, tag: tag)
        return try await perform([read])[0].get()
    }

    /// Reads an entry, or a part of it, into a fresh buffer.
    ///
    /// - Parameters:
    ///   - entry: One of the archive's entries.
    ///   - range: Which of its bytes, uncompressed; nil: all.
    ///   - priority: How soon it matters; nil: the task's priority.
    ///   - deadline: When to give up. A chunk that is being decoded is finished first.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    /// - Throws: ``ArchiveError``.
    public func read(
        _ entry: ArchiveEntry, _ range: Range<UInt64>? = nil, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(ArchiveError) -> HostBuffer {
        let range = range ?? 0..<entry.size
        guard range.upperBound <= entry.size, let count = Int(exactly: range.upperBound - range.lowerBound) else {
            throw ArchiveError(
                .invalidRange, file: entry.layer.file.path, entry: entry.path, "The entry has \(entry.size) bytes")
        }
        let buffer = try await entry.layer.allocate(count)
        try await read(entry, at: range.lowerBound, into: buffer[...], priority: priority, deadline: deadline, tag: tag)
        return buffer
    }

    /// Reads the entry of that path into a fresh buffer.
    /// - Throws: ``ArchiveError``; ``ArchiveError/Code/noSuchEntry`` if there is none.
    public func read(
        _ path: String, priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(ArchiveError) -> HostBuffer {
        guard let entry = self[path] else {
            throw ArchiveError(
                .noSuchEntry, file: layers[layers.count - 1].file.path, entry: path, "The archive has no such entry")
        }
        return try await read(entry, priority: priority, deadline: deadline, tag: tag)
    }
}

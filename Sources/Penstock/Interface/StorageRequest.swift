/// One request of a batch.
public struct StorageRequest: Sendable {
    package enum Direction: Sendable { case read, write }

    /// Where the bytes go to or come from.
    package enum Place: Sendable {
        case host(HostBuffer.Slice)
        case device(SinkSlice)
    }

    package let direction: Direction
    /// The file to read from or write to.
    public var file: StorageFile
    /// Where in the file, in bytes.
    public var offset: UInt64
    package var place: Place
    /// How soon it matters; nil: the task's priority.
    public var priority: StoragePriority?
    /// When to give up.
    public var deadline: ContinuousClock.Instant?
    /// For ``StorageQueue/cancel(tag:mask:)`` and ``StorageCompletion/tag``.
    public var tag: UInt64

    package init(
        _ direction: Direction, file: StorageFile, offset: UInt64, place: Place, priority: StoragePriority?,
        deadline: ContinuousClock.Instant?, tag: UInt64
    ) {
        self.direction = direction
        self.file = file
        self.offset = offset
        self.place = place
        self.priority = priority
        self.deadline = deadline
        self.tag = tag
    }

    /// A read of `slice.count` bytes.
    public static func read(
        from file: StorageFile, at offset: UInt64 = 0, into slice: HostBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) -> StorageRequest {
        StorageRequest(
            .read, file: file, offset: offset, place: .host(slice), priority: priority, deadline: deadline, tag: tag)
    }

    /// A write of `slice.count` bytes.
    public static func write(
        _ slice: HostBuffer.Slice, to file: StorageFile, at offset: UInt64 = 0, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) -> StorageRequest {
        StorageRequest(
            .write, file: file, offset: offset, place: .host(slice), priority: priority, deadline: deadline, tag: tag)
    }

    /// The memory that the bytes go to or come from; nil where that is a GPU's.
    public var slice: HostBuffer.Slice? {
        if case .host(let slice) = place { slice } else { nil }
    }

    /// How many bytes to move.
    public var count: Int {
        switch place {
        case .host(let slice): slice.count
        case .device(let slice): slice.count
        }
    }
}

/// How one request of a batch ended.
public struct StorageCompletion: Sendable {
    /// The request's place in the batch.
    public let index: Int
    /// The request's tag.
    public let tag: UInt64
    /// The bytes moved (fewer than asked only at the end of the file), or the error.
    public let result: Result<Int, StorageError>
}

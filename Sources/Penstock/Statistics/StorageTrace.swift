import CLinux
public import SystemPackage

/// One request's way, for ``StorageQueue/Configuration/trace``. Times are nanoseconds on the monotonic clock.
///
/// Adjacent small direct reads of a batch may have travelled as one, and then have one trace.
public struct StorageTrace: Sendable {
    /// The caller's name for the request, or for the batch that it came in.
    public let label: String?
    /// The caller's tag.
    public let tag: UInt64
    /// The file; nil where the bytes went between host memory and a GPU.
    public let path: FilePath?
    /// Whether the file was written rather than read.
    public let isWrite: Bool
    /// Where in the file, in bytes.
    public let offset: UInt64
    /// Bytes asked for.
    public let length: Int
    /// Bytes moved.
    public let count: Int
    /// Why it failed, if it did.
    public let failure: StorageError.Code?
    /// How important it was, in the end.
    public let priority: StoragePriority
    /// Which driver moved the bytes.
    public let driver: DriverKind
    /// How the bytes travelled.
    public let route: Statistics.Path
    /// When the caller asked.
    public let queuedAt: UInt64
    /// When the first piece went to the driver; 0 if none did.
    public let submittedAt: UInt64
    /// When the last piece had come back.
    public let completedAt: UInt64

    init(_ record: RequestRecord, _ submission: Submission, _ driver: DriverKind, _ now: UInt64) {
        label = submission.label
        tag = record.tag
        path = record.file?._withUnsafeGuaranteedRef { $0.path }
        isWrite = record.direction == .write
        offset = record.offset
        length = record.length
        count = record.outcome.count
        failure = record.outcome.failure == .none ? nil : StorageError.Code(record.outcome.failure)
        priority = record.priority
        self.driver = driver
        route = record.sink >= 0 ? .staged : record.usedDirect ? .direct : .buffered
        queuedAt = submission.submittedAt
        submittedAt = record.firstIssuedAt
        completedAt = now
    }

    /// A read that was finished on its caller's thread.
    init(inline transfer: Transfer, count: Int, _ priority: StoragePriority, _ driver: DriverKind, start: UInt64) {
        label = nil
        tag = 0
        path = transfer.file.path
        isWrite = false
        offset = transfer.offset
        length = transfer.length
        self.count = count
        failure = nil
        self.priority = priority
        self.driver = driver
        route = .inline
        queuedAt = start
        submittedAt = start
        completedAt = linux_monotonic_ns()
    }
}

public import SystemPackage

/// Why a storage operation failed: what was asked, of which file, what the system said, and what to do about it.
///
/// ```swift
/// do {
///     try await queue.read(from: file, into: buffer)
/// } catch where error.code == .cancelled {
///     return
/// }
/// ```
public struct StorageError: Error, Sendable {
    /// The kind of failure. New codes may be added, so a `switch` needs a `default`.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        package enum Kind: UInt8, Sendable {
            case none, cancelled, deadlineExceeded, queueClosed, fileClosed, foreignFile
            case invalidRange, invalidArgument, notFound, permissionDenied, alreadyExists
            case isDirectory, unsupportedFileType, notSupported, badDescriptor, badAddress, tooManyOpenFiles
            case noSpace, fileTooLarge, readOnly, outOfMemory, memoryLimit, busy, io, unavailable, other
            case deviceLost, deviceMemory, device
            case malformedData, checksumMismatch
        }

        package let kind: Kind
        package init(_ kind: Kind) { self.kind = kind }

        /// The task, or a cancel by tag, asked for the request to end. Errno: `ECANCELED`.
        public static let cancelled = Code(.cancelled)
        /// The request's deadline passed first.
        public static let deadlineExceeded = Code(.deadlineExceeded)
        /// The queue is shutting down or has shut down.
        public static let queueClosed = Code(.queueClosed)
        /// The file was closed before the request.
        public static let fileClosed = Code(.fileClosed)
        /// The file or the buffer belongs to another queue.
        public static let foreignFile = Code(.foreignFile)
        /// A slice lies outside its buffer, or an offset plus a length does not fit into a file.
        public static let invalidRange = Code(.invalidRange)
        /// An argument makes no sense. Errno: `EINVAL`, where the kernel said so.
        public static let invalidArgument = Code(.invalidArgument)
        /// No such file, or a part of its path is not a directory. Errno: `ENOENT`, `ENOTDIR`.
        public static let notFound = Code(.notFound)
        /// Errno: `EACCES`, `EPERM`.
        public static let permissionDenied = Code(.permissionDenied)
        /// Errno: `EEXIST`.
        public static let alreadyExists = Code(.alreadyExists)
        /// The path names a directory. Errno: `EISDIR`.
        public static let isDirectory = Code(.isDirectory)
        /// The path names a FIFO, a socket or a terminal: only regular files and block devices can be streamed.
        public static let unsupportedFileType = Code(.unsupportedFileType)
        /// The file system or the kernel does not know the operation. Errno: `EOPNOTSUPP`, `ENOSYS`.
        public static let notSupported = Code(.notSupported)
        /// The descriptor is not open for this operation. Errno: `EBADF`.
        public static let badDescriptor = Code(.badDescriptor)
        /// The memory given is not mapped, or not writable. Errno: `EFAULT`.
        public static let badAddress = Code(.badAddress)
        /// Errno: `EMFILE`, `ENFILE`.
        public static let tooManyOpenFiles = Code(.tooManyOpenFiles)
        /// Errno: `ENOSPC`, `EDQUOT`.
        public static let noSpace = Code(.noSpace)
        /// Errno: `EFBIG`, `EOVERFLOW`.
        public static let fileTooLarge = Code(.fileTooLarge)
        /// Errno: `EROFS`, `ETXTBSY`.
        public static let readOnly = Code(.readOnly)
        /// The kernel has no memory left. Errno: `ENOMEM`, `ENOBUFS`.
        public static let outOfMemory = Code(.outOfMemory)
        /// The buffer asked for is larger than ``StorageQueue/Configuration/hostMemoryLimit``.
        public static let memoryLimit = Code(.memoryLimit)
        /// The kernel kept asking to try again. Errno: `EAGAIN`, `EINTR`, `EBUSY`.
        public static let busy = Code(.busy)
        /// The device failed. Errno: `EIO`, `ENODATA`, `EREMOTEIO`, `EUCLEAN`, `ENXIO`, `ENODEV`.
        public static let io = Code(.io)
        /// A driver or a thread could not be set up; the message says which and why.
        public static let unavailable = Code(.unavailable)
        /// The GPU was lost: nothing can be streamed to it until its device has been made anew. `VK_ERROR_DEVICE_LOST`.
        public static let deviceLost = Code(.deviceLost)
        /// The GPU has no memory left, or the budget is used up. `VK_ERROR_OUT_OF_DEVICE_MEMORY`.
        public static let deviceMemory = Code(.deviceMemory)
        /// A Vulkan command failed in another way; ``StorageError/vulkanResult`` says how.
        public static let device = Code(.device)
        /// The bytes are not what their codec or their archive says they are; ``StorageError/underlying`` says more.
        public static let malformedData = Code(.malformedData)
        /// The bytes have changed since their checksum was taken: the file is damaged.
        public static let checksumMismatch = Code(.checksumMismatch)
        /// Any other errno.
        public static let other = Code(.other)

        /// The code's name, as in the source.
        public var description: String { "\(kind)" }
    }

    /// What was being done.
    public enum Operation: String, Sendable {
        case setUp, open, close, read, write, load, size, allocate, preallocate, truncate, sync, copy
    }

    // A class behind the struct keeps `Result<Int, StorageError>`, of which batches hold thousands, at nine bytes.
    private final class Storage: Sendable {
        let code: Code
        let operation: Operation
        let path: FilePath?
        let offset: UInt64?
        let length: Int?
        let errno: Errno?
        let vulkanResult: Int32?
        let message: String
        let underlying: (any Error)?

        init(
            code: Code, operation: Operation, path: FilePath?, offset: UInt64?, length: Int?, errno: Errno?,
            vulkanResult: Int32?, message: String, underlying: (any Error)?
        ) {
            self.code = code
            self.operation = operation
            self.path = path
            self.offset = offset
            self.length = length
            self.errno = errno
            self.vulkanResult = vulkanResult
            self.message = message
            self.underlying = underlying
        }
    }

    private let storage: Storage

    /// Makes an error, for code that stands in for a queue, such as a test's own fake.
    public init(
        _ code: Code, _ operation: Operation, path: FilePath? = nil, offset: UInt64? = nil, length: Int? = nil,
        errno: Errno? = nil, vulkanResult: Int32? = nil, message: String? = nil, underlying: (any Error)? = nil
    ) {
        storage = Storage(
            code: code, operation: operation, path: path, offset: offset, length: length, errno: errno,
            vulkanResult: vulkanResult, message: message ?? code.advice, underlying: underlying)
    }

    /// The kind of failure.
    public var code: Code { storage.code }
    /// What was being done.
    public var operation: Operation { storage.operation }
    /// The file, where one is known.
    public var path: FilePath? { storage.path }
    /// Where in the file, in bytes.
    public var offset: UInt64? { storage.offset }
    /// How many bytes were asked for.
    public var length: Int? { storage.length }
    /// What the kernel said, where it was the kernel that refused.
    public var errno: Errno? { storage.errno }
    /// What Vulkan said, a `VkResult`, where it was Vulkan that refused.
    public var vulkanResult: Int32? { storage.vulkanResult }
    /// What happened and what to do about it, for people.
    public var message: String { storage.message }
    /// The error behind this one, if there is one.
    public var underlying: (any Error)? { storage.underlying }
}

extension StorageError: CustomStringConvertible {
    /// One line: the operation, the file and range, the message and the errno.
    public var description: String {
        var text = "\(operation.rawValue)"
        if let path { text += " \(path)" }
        if let offset { text += " at \(offset)" }
        if let length { text += " (\(length) bytes)" }
        text += ": \(message) [\(code)"
        if let errno { text += ", errno \(errno.rawValue): \(errno)" }
        if let vulkanResult { text += ", VkResult \(vulkanResult)" }
        text += "]"
        if let underlying { text += "\n  because: \(underlying)" }
        return text
    }
}

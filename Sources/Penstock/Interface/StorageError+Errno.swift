import Glibc
import SystemPackage

extension StorageError.Code {
    /// The code for an errno that open, read, write, fsync, fallocate, ftruncate or io_uring can return.
    package init(errno: Int32) {
        switch errno {
        case ECANCELED: self = .cancelled
        case ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP: self = .notFound
        case EACCES, EPERM: self = .permissionDenied
        case EEXIST: self = .alreadyExists
        case EISDIR: self = .isDirectory
        case EINVAL, E2BIG: self = .invalidArgument
        case EOPNOTSUPP, ENOSYS, ENOTTY, ESPIPE: self = .notSupported
        case EBADF: self = .badDescriptor
        case EFAULT: self = .badAddress
        case EMFILE, ENFILE: self = .tooManyOpenFiles
        case ENOSPC, EDQUOT: self = .noSpace
        case EFBIG, EOVERFLOW: self = .fileTooLarge
        case EROFS, ETXTBSY: self = .readOnly
        case ENOMEM, ENOBUFS: self = .outOfMemory
        case EAGAIN, EINTR, EBUSY: self = .busy
        case EIO, ENODATA, EREMOTEIO, EUCLEAN, ENXIO, ENODEV, ESTALE, ETIMEDOUT, EBADMSG, EILSEQ, ENOLINK: self = .io
        default: self = .other
        }
    }

    /// What to tell the user when nothing more is known than the code.
    var advice: String {
        switch kind {
        case .none: "no error"
        case .cancelled: "the request was cancelled"
        case .deadlineExceeded: "the request's deadline passed before it finished"
        case .queueClosed: "the queue has shut down; make a new one"
        case .fileClosed: "the file was closed before this request; open it again"
        case .foreignFile: "the file or buffer belongs to another queue; use the queue that made it"
        case .invalidRange: "the range lies outside its buffer or past the largest file offset"
        case .invalidArgument: "the kernel refused an argument"
        case .notFound: "no such file; check the path"
        case .permissionDenied: "permission denied; check the file's mode and owner"
        case .alreadyExists: "the file exists already; open it without exclusive creation"
        case .isDirectory: "the path names a directory; name a file in it"
        case .unsupportedFileType: "not a regular file or block device; read it with FileHandle or a pipe reader"
        case .notSupported: "the file system or kernel does not support this"
        case .badDescriptor: "the file is not open for this operation; check its access"
        case .badAddress: "the memory given is not mapped or not writable"
        case .tooManyOpenFiles: "too many open files; close some or raise `ulimit -n`"
        case .noSpace: "no space left on the device, or the quota is used up"
        case .fileTooLarge: "larger than the file system allows"
        case .readOnly: "the file system or file cannot be written"
        case .outOfMemory: "the kernel is out of memory"
        case .memoryLimit: "larger than the queue's hostMemoryLimit; raise it or read in pieces"
        case .busy: "the kernel kept asking to try again"
        case .io: "the device reported an error; check the kernel log and the disk"
        case .unavailable: "could not be set up on this machine"
        case .deviceLost: "the GPU was lost; make a new device, and a new queue for it"
        case .deviceMemory: "the GPU is out of memory; free some buffers or raise the budget"
        case .device: "a Vulkan command failed"
        case .malformedData: "the bytes are not what their codec says they are; the file is damaged, or of another kind"
        case .checksumMismatch: "the bytes do not match their checksum: the file is damaged; restore it"
        case .other: "the operation failed"
        }
    }
}

extension StorageError {
    /// The error for a negated errno that a driver returned.
    package init(
        errno: Int32, _ operation: Operation, path: FilePath? = nil, offset: UInt64? = nil, length: Int? = nil
    ) {
        // Opening a FIFO that nobody reads, or a socket, is no fault of a device.
        let isNoDevice = errno == ENXIO && (operation == .open || operation == .load)
        self.init(
            isNoDevice ? .unsupportedFileType : Code(errno: errno), operation, path: path, offset: offset,
            length: length, errno: Errno(rawValue: errno))
    }
}

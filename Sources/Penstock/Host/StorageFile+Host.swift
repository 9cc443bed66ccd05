import CLinux
import Glibc
import Synchronization
import SystemPackage

/// The control of files for callers that may block their thread, and have no task.
extension StorageQueue {
    /// Opens a file on the caller's thread, which waits for the disk if it must. `open`.
    package nonisolated func openBlocking(
        _ path: FilePath, _ access: StorageFile.Access, caching: StorageFile.Caching
    ) throws(StorageError) -> StorageFile {
        try core.checkOpening(path, access)
        var descriptor: Int32
        repeat {
            descriptor = path.withPlatformString { Glibc.open($0, Int32(access.openFlags), 0o666) }
        } while descriptor < 0 && errno == EINTR
        if descriptor < 0 { throw StorageError(errno: errno, .open, path: path) }
        return try core.adoptChecked(descriptor, path, access, caching)
    }

    /// Makes a file of a descriptor. It is duplicated, and stays its owner's.
    package nonisolated func adoptFile(
        descriptor: Int32, caching: StorageFile.Caching
    ) throws(StorageError) -> StorageFile {
        let path = FilePath("descriptor \(descriptor)")
        try core.checkOpen(.open, path)
        let flags = fcntl(descriptor, F_GETFL)
        if flags < 0 { throw StorageError(errno: errno, .open, path: path) }
        // A descriptor that itself goes around the page cache takes only aligned requests, and one that appends takes no
        // offsets: another one of the same file.
        let unwanted = Int32(LINUX_O_DIRECT) | O_APPEND
        let own: Int32
        if flags & unwanted != 0 {
            own = linux_reopen(descriptor, flags & ~unwanted | OpenFlag.closeOnExec)
            if own < 0 { throw StorageError(errno: -own, .open, path: path) }
        } else {
            own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
            if own < 0 { throw StorageError(errno: errno, .open, path: path) }
        }
        let access: StorageFile.Access =
            switch flags & O_ACCMODE {
            case O_RDWR: .readWrite
            case O_WRONLY: .writeOnly
            default: .readOnly
            }
        return try core.adoptChecked(own, path, access, caching)
    }
}

extension StorageFile {
    /// The file's size now, in bytes. `statx` on the caller's thread.
    package func sizeBlocking() throws(StorageError) -> UInt64 {
        if isClosed { throw StorageError(.fileClosed, .size, path: path) }
        var status = linux_file_status()
        let result = linux_status(descriptor, &status)
        // A close meanwhile may have put the inert descriptor in the file's place.
        if isClosed { throw StorageError(.fileClosed, .size, path: path) }
        guard result == 0 else { throw StorageError(errno: -result, .size, path: path) }
        return status.size
    }

    /// Closes the file once its last request has ended, and returns at once.
    package func closeLater() {
        closed.store(true, ordering: .releasing)
        core.executor.loop.send(FileClosing(self) { _ in })
    }
}

extension QueueCore {
    fileprivate func adoptChecked(
        _ descriptor: Int32, _ path: FilePath, _ access: StorageFile.Access, _ caching: StorageFile.Caching
    ) throws(StorageError) -> StorageFile {
        guard usesKernelDescriptors else {
            _ = linux_close(descriptor)
            throw StorageError(.notSupported, .open, path: path)
        }
        var status = linux_file_status()
        let result = linux_status(descriptor, &status)
        return try adopt(descriptor, result, status, path, access, caching)
    }
}

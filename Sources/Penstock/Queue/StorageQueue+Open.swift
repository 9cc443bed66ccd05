import CLinux
import Glibc
public import SystemPackage

extension StorageQueue {
    /// Opens a file.
    ///
    /// A path that the kernel has cached is opened on the caller's thread, with `openat2(RESOLVE_CACHED)`; any other, and
    /// every file to be created, by the queue's driver.
    ///
    /// - Parameters:
    ///   - path: The file's path; relative to the working directory if it does not start with a slash.
    ///   - access: What the file is opened for.
    ///   - caching: How it uses the page cache.
    /// - Throws: ``StorageError``: ``StorageError/Code/notFound``, ``StorageError/Code/permissionDenied``,
    ///   ``StorageError/Code/isDirectory``, ``StorageError/Code/unsupportedFileType``,
    ///   ``StorageError/Code/tooManyOpenFiles`` and the like.
    public nonisolated func open(
        _ path: FilePath, _ access: StorageFile.Access = .readOnly, caching: StorageFile.Caching = .automatic
    ) async throws(StorageError) -> StorageFile {
        try core.checkOpening(path, access)
        if core.usesKernelDescriptors, access.isDisjoint(with: [.create, .truncate]) {
            let descriptor = path.withPlatformString {
                linux_openat2($0, access.openFlags, 0, UInt64(LINUX_RESOLVE_CACHED))
            }
            if descriptor >= 0 {
                var status = linux_file_status()
                let result = linux_status(descriptor, &status)
                return try core.adopt(descriptor, result, status, path, access, caching)
            }
            // EAGAIN: the path is not cached. EINVAL, ENOSYS: an older kernel. The driver will do.
            guard [EAGAIN, EINVAL, ENOSYS, EPERM].contains(-descriptor) else {
                throw StorageError(errno: -descriptor, .open, path: path)
            }
        }
        let opened = try await core.openOnRing(path, access)
        return try core.adopt(opened.descriptor, 0, opened.status, path, access, caching)
    }
}

extension QueueCore {
    struct Opened: Sendable {
        var descriptor: Int32
        var status: linux_file_status
    }

    /// Throws if nothing could be opened so.
    func checkOpening(_ path: FilePath, _ access: StorageFile.Access) throws(StorageError) {
        try checkOpen(.open, path)
        guard !path.isEmpty else { throw StorageError(.invalidArgument, .open, path: path, message: "an empty path") }
        guard !access.isDisjoint(with: .readWrite) else {
            throw StorageError(.invalidArgument, .open, path: path, message: "neither for reading nor for writing")
        }
    }

    func openOnRing(_ path: FilePath, _ access: StorageFile.Access) async throws(StorageError) -> Opened {
        try await errand(.open) { engine, done in
            engine.open(path, access) { result in done(result) }
        }
    }

    /// Wraps an open descriptor, or closes it if it is not one of a file that can be streamed.
    func adopt(
        _ descriptor: Int32, _ result: Int32, _ status: linux_file_status, _ path: FilePath,
        _ access: StorageFile.Access, _ caching: StorageFile.Caching
    ) throws(StorageError) -> StorageFile {
        if let error = result < 0 ? StorageError(errno: -result, .open, path: path) : status.typeError(path) {
            if usesKernelDescriptors { _ = linux_close(descriptor) }
            throw error
        }
        return StorageFile(
            path: path, access: access, caching: caching, descriptor: descriptor, status: status, core: self)
    }
}

extension linux_file_status {
    /// Why a file of this type cannot be streamed, if it cannot.
    func typeError(_ path: FilePath, _ operation: StorageError.Operation = .open) -> StorageError? {
        switch mode & S_IFMT {
        case S_IFREG, S_IFBLK: nil
        case S_IFDIR: StorageError(.isDirectory, operation, path: path, errno: .isDirectory)
        default: StorageError(.unsupportedFileType, operation, path: path)
        }
    }
}

extension Engine {
    /// Opens a file and asks for its status; calls back on the ring thread.
    func open(
        _ path: FilePath, _ access: StorageFile.Access,
        _ done: @escaping @Sendable (Result<QueueCore.Opened, StorageError>) -> Void
    ) {
        let name = path.withPlatformString { strdup($0) }!
        let status = UnsafeMutablePointer<linux_file_status>.allocate(capacity: 1)
        status.initialize(to: linux_file_status())
        var open = DriverOperation(.open)
        open.address = UnsafeMutableRawPointer(name)
        open.flags = access.openFlags
        open.mode = access.contains(.create) ? 0o666 : 0
        control(open) { [self] descriptor in
            Glibc.free(name)
            guard descriptor >= 0 || descriptor <= DriverOperation.firstSimulatedDescriptor else {
                status.deallocate()
                return done(.failure(StorageError(errno: -descriptor, .open, path: path)))
            }
            var operation = DriverOperation(.status, descriptor: descriptor)
            operation.address = UnsafeMutableRawPointer(status)
            control(operation) { [self] result in
                defer { status.deallocate() }
                guard result < 0 else { return done(.success(.init(descriptor: descriptor, status: status.pointee))) }
                driver.closeNow(descriptor)
                done(.failure(StorageError(errno: -result, .open, path: path)))
            }
        }
    }
}

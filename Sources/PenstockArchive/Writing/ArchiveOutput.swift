import CLinux
import Glibc
package import Penstock
package import SystemPackage

/// The file that becomes an archive: without a name, or under another one, until it is complete and on the disk.
///
/// Used by one task at a time.
package final class ArchiveOutput: @unchecked Sendable {  // handed from task to task, never shared
    let path: FilePath
    private let queue: StorageQueue
    private let file: StorageFile
    /// Of a file without a name.
    private var unnamed: Int32?
    /// The name until it is complete, if it has one.
    private var draft: FilePath?
    private let buffer: HostBuffer
    private var filled = 0
    private var flushed: UInt64 = 0

    /// Small chunks are collected, so that one write has many.
    static let bufferSize = 1 << 20

    package var position: UInt64 { flushed + UInt64(filled) }

    /// - Parameter mayBeUnnamed: False where every file has to have a name, as on some network file systems.
    package init(
        _ path: FilePath, on queue: StorageQueue, mayBeUnnamed: Bool = true
    ) async throws(StorageError) {
        guard path.lastComponent?.kind == .regular else {
            throw StorageError(.invalidArgument, .open, path: path, message: "the path names no file")
        }
        self.path = path
        self.queue = queue
        let folder = Self.folder(of: path)
        let descriptor =
            mayBeUnnamed
            ? try await queue.work { folder.withPlatformString { linux_temporary_file($0) } } : -EOPNOTSUPP
        if descriptor >= 0 {
            unnamed = descriptor
            do throws(StorageError) {
                file = try await queue.open(FilePath("/proc/self/fd/\(descriptor)"), .readWrite, caching: .buffered)
                buffer = try await queue.allocate(byteCount: Self.bufferSize)
            } catch {
                _ = linux_close(descriptor)
                throw error
            }
        } else if [EOPNOTSUPP, EISDIR, EINVAL, ENOSYS].contains(-descriptor) {
            let draft = Self.draftName(for: path)
            file = try await queue.open(draft, [.readWrite, .create, .exclusive], caching: .buffered)
            self.draft = draft
            do throws(StorageError) {
                buffer = try await queue.allocate(byteCount: Self.bufferSize)
            } catch {
                unlink(draft.string)
                throw error
            }
        } else {
            throw StorageError(errno: -descriptor, .open, path: folder)
        }
        // Room for the header, which is known at the end.
        filled = ArchiveFormat.headerSize
        buffer.withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: 0) }
    }

    deinit {
        if let unnamed { _ = linux_close(unnamed) }
    }

    private static func folder(of path: FilePath) -> FilePath {
        let folder = path.removingLastComponent()
        return folder.isEmpty ? "." : folder
    }

    /// A name that nobody has by chance, in the same folder, for a name can only be moved within one file system.
    private static func draftName(for path: FilePath) -> FilePath {
        let suffix = String(UInt64.random(in: 0 ... .max), radix: 36)
        // A long name leaves no room for more.
        return folder(of: path).appending(".penstock-\(getpid())-\(suffix).partial")
    }

    /// Adds the bytes at a multiple of the alignment; returns where they begin.
    func append(_ bytes: HostBuffer.Slice, alignment: UInt64) async throws(ArchiveError) -> UInt64 {
        try await pad(to: alignment)
        let offset = position
        var rest = bytes.range
        while !rest.isEmpty {
            let count = min(rest.count, buffer.count - filled)
            copy(bytes.buffer[rest.lowerBound..<rest.lowerBound + count])
            rest = rest.lowerBound + count..<rest.upperBound
            try await flushIfFull()
        }
        return offset
    }

    private func append(_ bytes: [UInt8]) async throws(ArchiveError) {
        var start = 0
        while start < bytes.count {
            let count = min(bytes.count - start, buffer.count - filled)
            let place = filled
            buffer.withUnsafeMutableBytes { buffer in
                UnsafeMutableRawBufferPointer(rebasing: buffer[place...]).copyBytes(from: bytes[start..<start + count])
            }
            filled += count
            start += count
            try await flushIfFull()
        }
    }

    private func pad(to alignment: UInt64) async throws(ArchiveError) {
        var missing = Int(ArchiveFormat.aligned(position, to: alignment) - position)
        while missing > 0 {
            let count = min(missing, buffer.count - filled)
            let range = filled..<filled + count
            buffer[range].withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: 0) }
            filled += count
            missing -= count
            try await flushIfFull()
        }
    }

    private func copy(_ slice: HostBuffer.Slice) {
        slice.withUnsafeBytes { source in
            buffer[filled..<filled + source.count].withUnsafeMutableBytes { $0.copyMemory(from: source) }
        }
        filled += slice.count
    }

    private func flushIfFull() async throws(ArchiveError) {
        if filled == buffer.count { try await flush() }
    }

    private func flush() async throws(ArchiveError) {
        guard filled > 0 else { return }
        do throws(StorageError) {
            try await queue.write(buffer[0..<filled], to: file, at: flushed)
        } catch {
            throw ArchiveError(error, file: path, "The archive cannot be written")
        }
        flushed += UInt64(filled)
        filled = 0
    }

    /// Completes the archive and gives it its name.
    package func finish(table: [UInt8], header: [UInt8]) async throws(ArchiveError) {
        try await pad(to: ArchiveFormat.alignment)
        try await append(table)
        try await flush()
        do throws(StorageError) {
            buffer.withUnsafeMutableBytes { $0.copyBytes(from: header) }
            try await queue.write(buffer[0..<header.count], to: file, at: 0)
            try await file.sync(.full)
        } catch {
            throw ArchiveError(error, file: path, "The archive cannot be written")
        }
        let (path, unnamed, draft) = (path, unnamed, draft)
        let code: Int32
        do throws(StorageError) {
            code = try await queue.work { Self.publish(unnamed, draft, as: path) }
        } catch {
            throw ArchiveError(error, file: path, "The archive cannot be given its name")
        }
        self.draft = nil
        guard code == 0 else { throw ArchiveError(errno: code, path, .open, "The archive cannot be given its name") }
    }

    /// Drops what has been written. At once, for a task that has been cancelled cannot have others work for it.
    package func abandon() {
        guard let draft else { return }
        self.draft = nil
        _ = draft.withPlatformString { unlink($0) }
    }

    /// Returns an errno, or 0. The name leads to the old archive or to the new one, at any time and after a crash.
    private static func publish(_ unnamed: Int32?, _ draft: FilePath?, as path: FilePath) -> Int32 {
        var draft = draft
        if let unnamed {
            var result = path.withPlatformString { linux_name_file(unnamed, $0) }
            if result == -EEXIST {
                // Linking never replaces; renaming does.
                let name = draftName(for: path)
                draft = name
                result = name.withPlatformString { linux_name_file(unnamed, $0) }
            }
            if result < 0 { return -result }
        }
        if let draft {
            let result = draft.withPlatformString { from in path.withPlatformString { rename(from, $0) } }
            if result < 0 {
                let code = errno
                _ = draft.withPlatformString { unlink($0) }
                return code
            }
        }
        // The name, too, must be on the disk.
        let folder = folder(of: path).withPlatformString { linux_open_folder($0) }
        guard folder >= 0 else { return -folder }
        defer { _ = linux_close(folder) }
        let result = linux_fsync(folder, false)
        // Some file systems cannot, and need not.
        return [0, EINVAL, EROFS, EOPNOTSUPP].contains(-result) ? 0 : -result
    }
}

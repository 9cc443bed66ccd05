import CLinux
import Glibc
package import Penstock
package import SystemPackage

/// The file that becomes an archive: without a name, or under another one, until it is complete and on the disk.
///
/// Used by one task at a time.
package final class ArchiveOutput: @unchecked Sendable {  // handed from task to task, never shared
    /// Open until the output goes.
    private final class Descriptor: Sendable {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { _ = linux_close(number) }
    }

    let path: FilePath
    private let queue: StorageQueue
    private let file: StorageFile
    /// Of the folder, whose list of names has to get to the disk. Opened first: what cannot be had is best known before
    /// everything is packed.
    private let folder: Descriptor
    /// Of a file without a name.
    private let unnamed: Descriptor?
    /// The name until it is complete, if it has one.
    private var draft: FilePath?
    private let buffer: HostBuffer
    private var filled = 0
    private var flushed: UInt64 = 0

    /// Small chunks are collected, so that one write has many.
    static let bufferSize = 1 << 20

    package var position: UInt64 { flushed + UInt64(filled) }

    /// - Parameters:
    ///   - mayBeUnnamed: False where every file has to have a name, as on some network file systems.
    ///   - descriptors: Where a process finds its open files; without it, a file without a name cannot get one.
    package init(
        _ path: FilePath, on queue: StorageQueue, mayBeUnnamed: Bool = true, descriptors: FilePath = "/proc/self/fd"
    ) async throws(StorageError) {
        guard path.lastComponent?.kind == .regular else {
            throw StorageError(.invalidArgument, .open, path: path, message: "the path names no file")
        }
        self.path = path
        self.queue = queue
        let folder = Self.folder(of: path)
        self.folder = try await Self.open(folder, on: queue) { linux_open_folder($0) }
        if mayBeUnnamed, let (descriptor, file) = try await Self.openUnnamed(in: folder, descriptors, on: queue) {
            unnamed = descriptor
            draft = nil
            self.file = file
        } else {
            let draft = folder.appending(Self.draftName)
            unnamed = nil
            self.draft = draft
            file = try await queue.open(draft, [.readWrite, .create, .exclusive], caching: .buffered)
        }
        do throws(StorageError) {
            buffer = try await queue.allocate(byteCount: Self.bufferSize)
        } catch {
            if let draft { _ = draft.withPlatformString { unlink($0) } }
            throw error
        }
        // Room for the header, which is known at the end.
        filled = ArchiveFormat.headerSize
        buffer.withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: 0) }
    }

    private static func open(
        _ path: FilePath, on queue: StorageQueue, by call: @escaping @Sendable (UnsafePointer<CChar>) -> Int32
    ) async throws(StorageError) -> Descriptor {
        let number = try await queue.work { path.withPlatformString { call($0) } }
        guard number >= 0 else { throw StorageError(errno: -number, .open, path: path) }
        return Descriptor(number)
    }

    /// A file without a name; nil where the file system has none, or the process cannot find it again.
    private static func openUnnamed(
        in folder: FilePath, _ descriptors: FilePath, on queue: StorageQueue
    ) async throws(StorageError) -> (Descriptor, StorageFile)? {
        let descriptor: Descriptor
        do throws(StorageError) {
            descriptor = try await open(folder, on: queue) { linux_temporary_file($0) }
        } catch {
            guard [EOPNOTSUPP, EISDIR, EINVAL, ENOSYS].contains(error.errno?.rawValue) else { throw error }
            return nil
        }
        do throws(StorageError) {
            let path = descriptors.appending("\(descriptor.number)")
            let file = try await queue.open(path, .readWrite, caching: .buffered)
            return (descriptor, file)
        } catch {
            guard [.notFound, .permissionDenied].contains(error.code) else { throw error }
            return nil
        }
    }

    private static func folder(of path: FilePath) -> FilePath {
        let folder = path.removingLastComponent()
        return folder.isEmpty ? "." : folder
    }

    /// A name that nobody has by chance; of a length of its own, for one that is long already leaves no room for more. To be
    /// used in the file's own folder, for a name can only be moved within one file system.
    static var draftName: String {
        ".penstock-\(getpid())-\(String(UInt64.random(in: 0 ... .max), radix: 36)).partial"
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
        let (path, unnamed, draft, folder) = (path, unnamed, draft, folder)
        let outcome: Publication
        do throws(StorageError) {
            outcome = try await queue.work { Self.publish(unnamed, draft, as: path, in: folder) }
        } catch {
            throw ArchiveError(error, file: path, "The archive cannot be given its name")
        }
        self.draft = nil
        switch outcome {
        case .durable: return
        case .refused(let code): throw ArchiveError(errno: code, path, .open, "The archive cannot be given its name")
        case .unconfirmed(let code):
            throw ArchiveError(
                errno: code, path, .sync,
                "The archive is complete and has its name, but the disk does not confirm the name: after a crash it may be "
                    + "gone")
        }
    }

    /// Drops what has been written. At once, for a task that has been cancelled cannot have others work for it.
    package func abandon() {
        guard let draft else { return }
        self.draft = nil
        _ = draft.withPlatformString { unlink($0) }
    }

    /// What has come of giving the archive its name.
    private enum Publication: Sendable {
        case durable
        /// It has no name, and what was there before is there still.
        case refused(errno: Int32)
        /// It has its name, and it is not known whether the disk has it, too.
        case unconfirmed(errno: Int32)
    }

    /// The name leads to the old archive or to the new one, at any time and after a crash.
    private static func publish(
        _ unnamed: Descriptor?, _ draft: FilePath?, as path: FilePath, in folder: Descriptor
    ) -> Publication {
        var draft = draft
        if let unnamed {
            var result = path.withPlatformString { linux_name_file(unnamed.number, $0) }
            if result == -EEXIST {
                // Linking never replaces; renaming does.
                let name = Self.folder(of: path).appending(draftName)
                draft = name
                result = name.withPlatformString { linux_name_file(unnamed.number, $0) }
            }
            if result < 0 { return .refused(errno: -result) }
        }
        if let draft {
            let result = draft.withPlatformString { from in path.withPlatformString { rename(from, $0) } }
            if result < 0 {
                let code = errno
                _ = draft.withPlatformString { unlink($0) }
                return .refused(errno: code)
            }
        }
        // The name, too, must be on the disk.
        let result = linux_fsync(folder.number, false)
        // Some file systems cannot, and need not.
        return [0, EINVAL, EROFS, EOPNOTSUPP].contains(-result) ? .durable : .unconfirmed(errno: -result)
    }
}

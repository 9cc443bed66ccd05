import CLinux
import Glibc
import Penstock
import SystemPackage

/// The folder that files are extracted into. The kernel sees to it that nothing leads out of it: every path is resolved
/// beneath the folder, without following any link (`openat2`). Blocks; used by one thread at a time.
final class ExtractionFolder: @unchecked Sendable {  // handed from thread to thread, never shared
    private let root: FilePath
    private let descriptor: Int32
    /// The folder of the last file, which the next one is probably in.
    private var current: (path: String, descriptor: Int32)?
    private var file: (entry: String, descriptor: Int32)?

    /// Opens the folder, and makes it if need be; its parents must be there.
    init(_ root: FilePath) throws(ArchiveError) {
        self.root = root
        if root.withPlatformString({ mkdir($0, 0o777) }) != 0, errno != EEXIST {
            throw ArchiveError(errno: errno, root, .open, "The folder cannot be made")
        }
        descriptor = root.withPlatformString { linux_open_folder($0) }
        guard descriptor >= 0 else {
            throw ArchiveError(errno: -descriptor, root, .open, "The folder cannot be opened")
        }
    }

    deinit {
        if let file { close(file.descriptor) }
        leave()
        if descriptor >= 0 { close(descriptor) }
    }

    private func leave() {
        if let current { close(current.descriptor) }
        current = nil
    }

    private func fail(_ code: Int32, _ entry: String, _ message: String) -> ArchiveError {
        switch code {
        // A link on the way, or a way out.
        case ELOOP, EXDEV:
            ArchiveError(
                .unsafeDestination, file: root, entry: entry,
                "A link in the folder is in the way; extract into a folder of its own")
        case ENOTDIR:
            ArchiveError(
                .unsafeDestination, file: root, entry: entry,
                "Something in the folder is in the way that is no folder; extract into a folder of its own")
        case EEXIST: ArchiveError(.alreadyExists, file: root, entry: entry, "The file is there already")
        default: ArchiveError(errno: code, root.appending(entry), .write, entry: entry, message)
        }
    }

    /// Makes the file, and the folders that it is in.
    ///
    /// - Parameter replaces: Whether a file that is there already may go; a link is removed, not followed.
    func begin(_ entry: String, replacing replaces: Bool) throws(ArchiveError) {
        // The parser has seen to this, too; here it costs nothing.
        if let problem = EntryPath.problem(entry) { throw ArchiveError(.invalidPath, entry: entry, problem) }
        let slash = entry.utf8.lastIndex(of: UInt8(ascii: "/"))
        let parent = try enter(slash.map { String(entry[..<$0]) } ?? "", for: entry)
        let name = slash.map { String(entry[entry.utf8.index(after: $0)...]) } ?? entry
        var result = linux_create_beneath(parent, name)
        if result == -EEXIST, replaces {
            if unlinkat(parent, name, 0) != 0 { throw fail(errno, entry, "The file cannot be replaced") }
            result = linux_create_beneath(parent, name)
        }
        guard result >= 0 else { throw fail(-result, entry, "The file cannot be made") }
        file = (entry, result)
    }

    private func enter(_ path: String, for entry: String) throws(ArchiveError) -> Int32 {
        if path.isEmpty { return descriptor }
        if let current, current.path == path { return current.descriptor }
        leave()
        var result = linux_open_folder_beneath(descriptor, path)
        if result == -ENOENT {
            try makeFolders(path, for: entry)
            result = linux_open_folder_beneath(descriptor, path)
        }
        guard result >= 0 else { throw fail(-result, entry, "The file's folder cannot be opened") }
        current = (path, result)
        return result
    }

    private func makeFolders(_ path: String, for entry: String) throws(ArchiveError) {
        var parent = descriptor
        var isOwned = false
        defer { if isOwned { close(parent) } }
        for component in path.split(separator: "/") {
            let name = String(component)
            // Of a link that stands there, opening will say so.
            if mkdirat(parent, name, 0o777) != 0, errno != EEXIST {
                throw fail(errno, entry, "The file's folder cannot be made")
            }
            let next = linux_open_folder_beneath(parent, name)
            guard next >= 0 else { throw fail(-next, entry, "The file's folder cannot be opened") }
            if isOwned { close(parent) }
            (parent, isOwned) = (next, true)
        }
    }

    /// Adds bytes to the file.
    func write(_ bytes: UnsafeRawBufferPointer) throws(ArchiveError) {
        guard let file else { return }
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(file.descriptor, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw fail(errno, file.entry, "The file cannot be written") }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// The file is complete.
    func finish() throws(ArchiveError) {
        guard let (entry, descriptor) = file else { return }
        file = nil
        guard close(descriptor) == 0 else { throw fail(errno, entry, "The file cannot be written") }
    }

    /// Removes the file that was begun last and not finished.
    func abandon() {
        guard let (entry, descriptor) = file else { return }
        file = nil
        close(descriptor)
        let slash = entry.utf8.lastIndex(of: UInt8(ascii: "/"))
        let name = slash.map { String(entry[entry.utf8.index(after: $0)...]) } ?? entry
        unlinkat(slash == nil ? self.descriptor : current?.descriptor ?? -1, name, 0)
    }
}

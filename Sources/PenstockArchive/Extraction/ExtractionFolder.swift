import CLinux
import Glibc
import Penstock
import SystemPackage

/// The folder that files are extracted into. The kernel sees to it that nothing leads out of it: every path is resolved
/// beneath the folder, without following any link (`openat2`, or `openat` for each component). Blocks; used by one thread at
/// a time.
final class ExtractionFolder: @unchecked Sendable {  // handed from thread to thread, never shared
    /// A file that is being written.
    private struct Output {
        let entry: String
        let name: String
        /// The name until it is complete, where another file has its own.
        let draft: String?
        let descriptor: Int32
        /// The folder's, which stays open until the next file is begun.
        let parent: Int32
    }

    private let root: FilePath
    private let descriptor: Int32
    private let walks: Bool
    /// The folder of the last file, which the next one is probably in.
    private var current: (path: String, descriptor: Int32)?
    private var output: Output?

    /// Opens the folder, and makes it if need be; its parents must be there.
    ///
    /// - Parameter walks: Whether paths are resolved as where there is no `openat2`, even if there is.
    init(_ root: FilePath, walking walks: Bool = false) throws(ArchiveError) {
        self.root = root
        self.walks = walks
        if root.withPlatformString({ mkdir($0, 0o777) }) != 0, errno != EEXIST {
            throw ArchiveError(errno: errno, root, .open, "The folder cannot be made")
        }
        descriptor = root.withPlatformString { linux_open_folder($0) }
        guard descriptor >= 0 else {
            throw ArchiveError(errno: -descriptor, root, .open, "The folder cannot be opened")
        }
    }

    deinit {
        if let output { close(output.descriptor) }
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
    /// - Parameter replaces: Whether a file that is there already is replaced when this one is complete; so is a link, which
    ///   is not followed.
    func begin(_ entry: String, replacing replaces: Bool) throws(ArchiveError) {
        // The parser has seen to this, too; here it costs nothing.
        if let problem = EntryPath.problem(entry) { throw ArchiveError(.invalidPath, entry: entry, problem) }
        let slash = entry.utf8.lastIndex(of: UInt8(ascii: "/"))
        let parent = try enter(slash.map { String(entry[..<$0]) } ?? "", for: entry)
        let name = slash.map { String(entry[entry.utf8.index(after: $0)...]) } ?? entry
        var draft: String?
        var result = linux_create_beneath(parent, name, walks)
        if result == -EEXIST, replaces {
            var status = stat()
            if fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == S_IFDIR {
                throw fail(EISDIR, entry, "A file cannot replace a folder")
            }
            let beside = ArchiveOutput.draftName
            draft = beside
            result = linux_create_beneath(parent, beside, walks)
        }
        guard result >= 0 else { throw fail(-result, entry, "The file cannot be made") }
        output = Output(entry: entry, name: name, draft: draft, descriptor: result, parent: parent)
    }

    private func enter(_ path: String, for entry: String) throws(ArchiveError) -> Int32 {
        if path.isEmpty { return descriptor }
        // Bytes, not characters: Swift's strings are equal when they look the same.
        if let current, current.path.utf8.elementsEqual(path.utf8) { return current.descriptor }
        leave()
        var result = linux_open_folder_beneath(descriptor, path, walks)
        if result == -ENOENT {
            try makeFolders(path, for: entry)
            result = linux_open_folder_beneath(descriptor, path, walks)
        }
        guard result >= 0 else { throw fail(-result, entry, "The file's folder cannot be opened") }
        current = (path, result)
        return result
    }

    private func makeFolders(_ path: String, for entry: String) throws(ArchiveError) {
        var parent = descriptor
        var isOwned = false
        defer { if isOwned { close(parent) } }
        for component in path.utf8.split(separator: UInt8(ascii: "/")) {
            let name = String(Substring(component))
            // Of a link that stands there, opening will say so.
            if mkdirat(parent, name, 0o777) != 0, errno != EEXIST {
                throw fail(errno, entry, "The file's folder cannot be made")
            }
            let next = linux_open_folder_beneath(parent, name, walks)
            guard next >= 0 else { throw fail(-next, entry, "The file's folder cannot be opened") }
            if isOwned { close(parent) }
            (parent, isOwned) = (next, true)
        }
    }

    /// Adds bytes to the file.
    func write(_ bytes: UnsafeRawBufferPointer) throws(ArchiveError) {
        guard let output else { return }
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(output.descriptor, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw fail(errno, output.entry, "The file cannot be written") }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// The file is complete: if it replaces another, it does so now.
    func finish() throws(ArchiveError) {
        guard let output else { return }
        self.output = nil
        var code = close(output.descriptor) == 0 ? 0 : errno
        if code == 0, let draft = output.draft, renameat(output.parent, draft, output.parent, output.name) != 0 {
            code = errno
        }
        guard code == 0 else {
            remove(output)
            throw fail(code, output.entry, "The file cannot be written")
        }
    }

    /// Removes the file that was begun last and not finished. One that it was to replace stays.
    func abandon() {
        guard let output else { return }
        self.output = nil
        close(output.descriptor)
        remove(output)
    }

    private func remove(_ output: Output) { unlinkat(output.parent, output.draft ?? output.name, 0) }
}

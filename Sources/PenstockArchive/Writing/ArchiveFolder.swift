import Glibc
import Penstock
public import SystemPackage

/// The regular files at and below a folder, in the order in which an archive holds them.
public struct ArchiveFolder: Sendable {
    /// Why something is not among the sources.
    public enum Skip: String, Sendable, CaseIterable {
        /// A symbolic link; links are never followed.
        case symbolicLink = "symbolic links"
        /// A device, a FIFO or a socket.
        case special = "special files"
        /// A name that is not UTF-8, which an archive's paths are.
        case notUTF8 = "names that are not UTF-8"
        /// One of the files that were to be left out.
        case excluded = "archives being made or patched"
    }

    /// What to pack, by path.
    public private(set) var sources: [ArchiveSource] = []
    /// How many things of each kind were passed over.
    public private(set) var skipped: [Skip: Int] = [:]

    /// Looks through the folder; blocks while it does.
    ///
    /// - Parameters:
    ///   - folder: The folder. It may be a symbolic link to one; what is in it may not.
    ///   - excluded: Files to leave out, such as the archive that is to be replaced and those that it is a patch of; by
    ///     whatever paths.
    /// - Throws: ``ArchiveError/Code/storage`` for a folder that cannot be read, ``ArchiveError/Code/invalidPath`` for a path
    ///   that is too long.
    public init(_ folder: FilePath, excluding excluded: [FilePath] = []) throws(ArchiveError) {
        let excluded = excluded.compactMap { path in
            var status = stat()
            return path.withPlatformString { stat($0, &status) } == 0 ? status : nil
        }
        // Folders yet to be seen, by their path within the archive.
        var pending = [""]
        while let next = pending.popLast() {
            let path = next.isEmpty ? folder : folder.appending(next)
            guard let stream = path.withPlatformString({ opendir($0) }) else {
                throw Self.error(path, "The folder cannot be read", errno)
            }
            defer { closedir(stream) }
            while let entry = try Self.nextEntry(of: stream, path) {
                try look(at: entry, in: next, path, dirfd(stream), excluded, &pending)
            }
        }
        sources.sort { EntryPath.precedes($0.path, $1.path) }
    }

    /// The next entry of an open folder; nil at its end, which only `errno` tells from a disk that fails.
    package static func nextEntry(
        of stream: OpaquePointer, _ path: FilePath
    ) throws(ArchiveError) -> UnsafeMutablePointer<dirent>? {
        errno = 0
        if let entry = readdir(stream) { return entry }
        let code = errno
        guard code == 0 else { throw Self.error(path, "The folder cannot be read", code) }
        return nil
    }

    private mutating func look(
        at entry: UnsafeMutablePointer<dirent>, in parent: String, _ folder: FilePath, _ descriptor: Int32,
        _ excluded: [stat], _ pending: inout [String]
    ) throws(ArchiveError) {
        // By address: an entry is only as long as its name, and a copy of the whole struct would read past it.
        let name = UnsafeRawPointer(entry).advanced(by: MemoryLayout<dirent>.offset(of: \.d_name)!)
            .assumingMemoryBound(to: CChar.self)
        guard strcmp(name, ".") != 0, strcmp(name, "..") != 0 else { return }
        var status = stat()
        guard fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            // Deleted since: it was never there.
            if errno == ENOENT { return }
            throw Self.error(folder, "A file in the folder cannot be examined", errno)
        }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFDIR else {
            skipped[kind == S_IFLNK ? .symbolicLink : .special, default: 0] += 1
            return
        }
        guard let text = String(validatingCString: name) else {
            skipped[.notUTF8, default: 0] += 1
            return
        }
        let path = parent.isEmpty ? text : parent + "/" + text
        if kind == S_IFDIR { return pending.append(path) }
        if excluded.contains(where: { $0.st_ino == status.st_ino && $0.st_dev == status.st_dev }) {
            skipped[.excluded, default: 0] += 1
            return
        }
        if let problem = EntryPath.problem(path) {
            throw ArchiveError(.invalidPath, file: folder, entry: path, problem)
        }
        sources.append(ArchiveSource(path, file: folder.appending(text), size: UInt64(status.st_size)))
    }

    private static func error(_ path: FilePath, _ message: String, _ code: Int32) -> ArchiveError {
        ArchiveError(errno: code, path, .open, message)
    }
}

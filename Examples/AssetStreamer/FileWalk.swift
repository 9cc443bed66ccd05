import Glibc
import SystemPackage

/// The regular files at and below some paths, one at a time: each directory is read as far as it is asked for.
///
/// Symbolic links are followed only where they are themselves the paths given. It blocks, and remembers only the
/// directories that it has yet to see.
final class FileWalk: Sequence, IteratorProtocol {
    enum Found {
        case file(Asset)
        case unreadable(FilePath, Errno)
    }

    private var roots: [FilePath]
    private var pending: [FilePath] = []
    private var directory: (path: FilePath, stream: OpaquePointer)?

    init(_ roots: [FilePath]) { self.roots = roots.reversed() }

    deinit { leaveDirectory() }

    func next() -> Found? {
        while true {
            if let directory {
                errno = 0
                guard let entry = readdir(directory.stream) else {
                    // Only this tells the end from a disk that fails.
                    let problem = Errno(rawValue: errno)
                    leaveDirectory()
                    if problem.rawValue != 0 { return .unreadable(directory.path, problem) }
                    continue
                }
                if let found = look(at: entry, in: directory.path, directory.stream) { return found }
            } else if let path = pending.popLast() {
                if let errno = enter(path) { return .unreadable(path, errno) }
            } else if let root = roots.popLast() {
                if let found = look(at: root) { return found }
            } else {
                return nil
            }
        }
    }

    private func look(at root: FilePath) -> Found? {
        var status = stat()
        guard root.withPlatformString({ stat($0, &status) }) == 0 else {
            return .unreadable(root, Errno(rawValue: errno))
        }
        return sort(root, status)
    }

    private func look(at entry: UnsafeMutablePointer<dirent>, in path: FilePath, _ stream: OpaquePointer) -> Found? {
        // The name is longer than its declared 256 bytes may say; it is only ever used by its address.
        let name = UnsafeRawPointer(entry).advanced(by: MemoryLayout<dirent>.offset(of: \.d_name)!)
            .assumingMemoryBound(to: CChar.self)
        guard let component = FilePath.Component(platformString: name), component.kind == .regular else { return nil }
        let path = path.appending(component)
        switch Int(entry.pointee.d_type) {
        case Int(DT_DIR):
            pending.append(path)
            return nil
        case Int(DT_REG), Int(DT_UNKNOWN):
            var status = stat()
            guard fstatat(dirfd(stream), name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
                // Deleted since: it was never there.
                return errno == ENOENT ? nil : .unreadable(path, Errno(rawValue: errno))
            }
            return sort(path, status)
        default:
            return nil
        }
    }

    private func sort(_ path: FilePath, _ status: stat) -> Found? {
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .file(Asset(path, status))
        case S_IFDIR: pending.append(path)
        default: break
        }
        return nil
    }

    private func enter(_ path: FilePath) -> Errno? {
        guard let stream = path.withPlatformString({ opendir($0) }) else { return Errno(rawValue: errno) }
        directory = (path, stream)
        return nil
    }

    private func leaveDirectory() {
        if let directory { closedir(directory.stream) }
        directory = nil
    }
}

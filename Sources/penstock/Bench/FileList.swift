import Glibc

/// Paths as C strings, ready for whoever opens them: converting them is no contestant's work.
///
/// `@unchecked Sendable`: nothing changes after `init`.
final class FileList: @unchecked Sendable {
    let paths: [UnsafePointer<CChar>?]

    init(_ paths: [String]) {
        self.paths = paths.map { UnsafePointer(strdup($0)) }
    }

    deinit {
        for path in paths { free(UnsafeMutablePointer(mutating: path)) }
    }

    var count: Int { paths.count }

    subscript(index: Int) -> String { String(cString: paths[index]!) }

    /// The first `limit` regular files under `directory` that can be read: depth first, by name, so that every run
    /// gets the same ones. Symbolic links are not followed; directories that cannot be read are passed over.
    static func regularFiles(under directory: String, limit: Int) -> FileList {
        var found: [String] = []
        var pending = [directory]
        while let next = pending.popLast(), found.count < limit {
            let entries = entries(of: next).sorted { $0.name < $1.name }
            for entry in entries where !entry.isDirectory && found.count < limit {
                let path = "\(next)/\(entry.name)"
                if access(path, R_OK) == 0 { found.append(path) }
            }
            pending += entries.reversed().filter(\.isDirectory).map { "\(next)/\($0.name)" }
        }
        return FileList(found)
    }

    private struct Entry {
        let name: String
        let isDirectory: Bool
    }

    /// The regular files and directories in `directory`.
    private static func entries(of directory: String) -> [Entry] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var entries: [Entry] = []
        while let entry = readdir(stream) {
            // By address: an entry is only as long as its name, and a copy of the whole struct would read past it.
            let start = UnsafeRawPointer(entry) + MemoryLayout<dirent>.offset(of: \.d_name)!
            let name = String(cString: start.assumingMemoryBound(to: CChar.self))
            guard name != ".", name != ".." else { continue }
            var attributes = stat()
            guard lstat("\(directory)/\(name)", &attributes) == 0 else { continue }
            switch attributes.st_mode & S_IFMT {
            case S_IFREG: entries.append(Entry(name: name, isDirectory: false))
            case S_IFDIR: entries.append(Entry(name: name, isDirectory: true))
            default: continue
            }
        }
        return entries
    }
}

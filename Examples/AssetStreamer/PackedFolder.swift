import Glibc
import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage

/// A folder's files in one archive, which is made once and kept in the cache directory until a file changes.
struct PackedFolder: Sendable {
    let folder: FilePath
    let archive: StorageArchive
    /// The files as they were when the archive was looked for.
    let assets: [String: Asset]
    /// Why files are not in the archive.
    let unreadable: [FilePath]
    /// What packing took; nil: the archive was there.
    let packing: Duration?

    /// What a GPU can decode, at a level that packs about as fast as most disks read.
    private static let codec = GDeflate(level: 6, framing: .page)

    var path: FilePath { archive.files[0].path }
    var contentSize: Int { Int(clamping: archive.files[0].contentSize) }
    var fileSize: Int { Int(clamping: archive.files[0].size) }

    /// Opens the folder's archive, or makes it.
    static func prepare(_ folder: FilePath, on queue: StorageQueue, _ progress: Progress) async throws -> PackedFolder {
        let (assets, unreadable) = await withTaskExecutorPreference(BlockingThreads.shared) { survey(folder) }
        let path = try archivePath(of: folder, assets)
        func made(_ archive: StorageArchive, _ packing: Duration?) -> PackedFolder {
            PackedFolder(
                folder: folder, archive: archive, assets: assets, unreadable: unreadable, packing: packing)
        }
        if let archive = try? await StorageArchive.open(path, on: queue) { return made(archive, nil) }
        let start = ContinuousClock.now
        let sources = assets.map { name, asset in ArchiveSource(name, file: asset.path, size: asset.size) }
        let writer = ArchiveWriter(on: queue, codec: codec)
        try await writer.write(sources, to: path) { progress.set(files: $0.entries, bytes: Int(clamping: $0.bytes)) }
        let duration = ContinuousClock.now - start
        removeOthers(than: path, of: folder)
        return made(try await StorageArchive.open(path, on: queue), duration)
    }

    /// Has the kernel forget what it has cached of the files and the archive. What it knows of their names stays.
    func forgetPages() async {
        await withTaskExecutorPreference(BlockingThreads.shared) {
            for path in assets.values.map(\.path) + [path] {
                guard let descriptor = try? FileDescriptor.open(path, .readOnly) else { continue }
                // Pages that are not on the disk yet stay; the archive's are there since it was made.
                posix_fadvise(descriptor.rawValue, 0, 0, 4)  // POSIX_FADV_DONTNEED, which Glibc's module does not show
                try? descriptor.close()
            }
        }
    }

    /// The files below the folder, by their paths in it.
    private static func survey(_ folder: FilePath) -> (assets: [String: Asset], unreadable: [FilePath]) {
        var assets: [String: Asset] = [:]
        var unreadable: [FilePath] = []
        for found in FileWalk([folder]) {
            switch found {
            case .file(let asset):
                var name = asset.path
                if name.removePrefix(folder), access(asset.path.string, R_OK) == 0 {
                    assets[name.string] = asset
                } else {
                    unreadable.append(asset.path)
                }
            case .unreadable(let path, _): unreadable.append(path)
            }
        }
        return (assets, unreadable)
    }

    // MARK: The cache

    /// Named after the folder, and after what there is to know of its files without reading them.
    private static func archivePath(of folder: FilePath, _ assets: [String: Asset]) throws -> FilePath {
        let key = assets.reduce(0) { $0 &+ Checksum.of($1.key) &* 31 &+ $1.value.fingerprint }
        let directory = try cacheDirectory()
        return directory.appending("\(prefix(folder))\(String(key, radix: 16))\(suffix)")
    }

    private static func prefix(_ folder: FilePath) -> String {
        "\(folder.lastComponent?.string ?? "root")-\(String(Checksum.of(folder.string), radix: 16))-"
    }

    private static let suffix = ".penstock"

    private static func cacheDirectory() throws -> FilePath {
        var directory = FilePath("/tmp")
        if let cache = getenv("XDG_CACHE_HOME"), cache[0] == CChar(UInt8(ascii: "/")) {
            directory = FilePath(platformString: cache)
        } else if let home = getenv("HOME"), home[0] != 0 {
            directory = FilePath(platformString: home).appending(".cache")
        }
        for name in ["", "asset-streamer"] {
            if !name.isEmpty { directory.append(name) }
            guard mkdir(directory.string, 0o755) == 0 || errno == EEXIST else {
                throw StorageError(
                    .other, .setUp, path: directory, errno: Errno(rawValue: errno),
                    message: "the cache directory cannot be made; set XDG_CACHE_HOME to one that can")
            }
        }
        return directory
    }

    /// The archives of what the folder was before.
    private static func removeOthers(than path: FilePath, of folder: FilePath) {
        let name = path.lastComponent!.string
        let prefix = prefix(folder)
        let directory = path.removingLastComponent()
        guard let stream = opendir(directory.string) else { return }
        defer { closedir(stream) }
        var old: [String] = []
        while let entry = readdir(stream) {
            // By address: an entry is only as long as its name.
            let start = UnsafeRawPointer(entry) + MemoryLayout<dirent>.offset(of: \.d_name)!
            let other = String(cString: start.assumingMemoryBound(to: CChar.self))
            guard other != name, other.hasPrefix(prefix), other.hasSuffix(suffix) else { continue }
            // Another folder's name can begin with this one's; what follows is a key alone.
            let key = other.dropFirst(prefix.count).dropLast(suffix.count)
            if UInt64(key, radix: 16) != nil { old.append(other) }
        }
        for name in old { unlink(directory.appending(name).string) }
    }
}

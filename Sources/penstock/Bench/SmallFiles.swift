import Glibc
import Penstock
import PenstockArchive
import SystemPackage

/// Many small files in a folder of their own, of the kinds that games stream; they go with the object.
final class SmallFiles: Sendable {
    let folder: String
    let list: FileList
    let byteCount: UInt64
    private let folders: [String]

    /// Bytes of a file: from a shader or a script to a small mesh.
    private static let sizes = 256...8192
    private static let filesPerFolder = 256

    /// Writes `count` files below the directory, and waits until they are on the disk.
    init(count: Int, in directory: String, seed: UInt64) throws {
        let folder = "\(directory)/penstock-bench-\(getpid()).files"
        var random = SplitMix64(seed: seed)
        let kinds = DecodeCorpus.mix(byteCount: 16 << 20, seed: seed)
        let bar = ProgressBar("writing small files", total: UInt64(count), unit: .items)
        defer { bar.finish() }
        var (folders, paths, byteCount) = ([folder], [String](), 0)
        do {
            try Self.makeFolder(folder)
            for index in 0..<count {
                try Interrupt.check()
                let inner = "\(folder)/\(index / Self.filesPerFolder)"
                if index.isMultiple(of: Self.filesPerFolder) {
                    folders.append(inner)
                    try Self.makeFolder(inner)
                }
                let kind = kinds[index % kinds.count]
                let size = Int.random(in: Self.sizes, using: &random)
                let start = Int.random(in: 0...kind.bytes.count - size, using: &random)
                paths.append("\(inner)/\(index).\(kind.name)")
                try Self.write(kind.bytes[start..<start + size], to: paths[index])
                byteCount += size
                bar.advance()
            }
        } catch {
            Self.remove(paths, folders)
            throw error
        }
        self.folder = folder
        self.folders = folders
        self.byteCount = UInt64(byteCount)
        list = FileList(paths)
        sync()
    }

    deinit { Self.remove((0..<list.count).map { list[$0] }, folders) }

    /// Drops the files' bytes from the page cache. What the kernel knows of their names and places stays: forgetting that
    /// as well would slow only those who open each of them.
    func forget() throws(BenchError) {
        for index in 0..<list.count { try Self.forget(list[index]) }
    }

    /// Drops a file's bytes from the page cache.
    static func forget(_ path: String) throws(BenchError) {
        let descriptor = try BenchDescriptor(path: path, direct: false)
        let refusal = posix_fadvise(descriptor.number, 0, 0, POSIX_FADV_DONTNEED)
        if refusal != 0 { throw BenchError("cannot drop \(path) from the page cache", errno: refusal) }
    }

    /// Fails unless the archive holds just these files.
    func check(_ archive: StorageArchive) async throws {
        var entries = 0
        for try await part in archive.contents() {
            let path = "\(folder)/\(part.entry.path)"
            let file = try BenchDescriptor(path: path, direct: false)
            let bytes = [UInt8](unsafeUninitializedCapacity: Self.sizes.upperBound + 1) { buffer, count in
                count = max(0, pread(file.number, buffer.baseAddress, buffer.count, off_t(part.offset)))
            }
            guard part.isLast, part.withUnsafeBytes({ $0.elementsEqual(bytes) }) else {
                throw BenchError("the archive has other bytes for \(path)")
            }
            entries += 1
        }
        guard entries == list.count else { throw BenchError("the archive has \(entries) of \(list.count) files") }
    }

    private static func makeFolder(_ path: String) throws(BenchError) {
        guard mkdir(path, 0o755) == 0 else { throw BenchError("cannot create \(path)", errno: errno) }
    }

    private static func write(_ bytes: ArraySlice<UInt8>, to path: String) throws(BenchError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw BenchError("cannot create \(path)", errno: errno) }
        defer { close(descriptor) }
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard count == bytes.count else { throw BenchError("cannot write \(path)", errno: count < 0 ? errno : ENOSPC) }
    }

    private static func remove(_ paths: [String], _ folders: [String]) {
        for path in paths { unlink(path) }
        for folder in folders.reversed() { rmdir(folder) }
    }
}

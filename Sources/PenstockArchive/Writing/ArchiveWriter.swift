import CLinux
import Glibc
public import Penstock
public import PenstockCompression
public import SystemPackage

/// Makes archives: of a folder, of files, of memory.
///
/// ```swift
/// let writer = ArchiveWriter(on: queue, codec: Zstd(level: 9))
/// let folder = try ArchiveFolder("assets")
/// try await writer.write(folder.sources, to: "assets.penstock")
/// ```
///
/// The same sources and the same codec give the same bytes, whatever the machine and however many processors it has. Where
/// the codec is a library's, as of zstd, LZ4 and deflate, that holds for one version of the library: another may encode the
/// same content otherwise. An archive appears under its name when it is complete and on the disk, or not at all.
public struct ArchiveWriter: Sendable {
    /// The queue that reads the sources and writes the archive.
    public let queue: StorageQueue
    /// What chunks are encoded by; nil: nothing.
    public let codec: (any Codec)?
    /// Uncompressed bytes of a chunk.
    public let chunkSize: Int
    /// Chunks that are being read or encoded, or wait for one before them, at most.
    package var window: Int

    /// For each processor: enough that none ever waits because one chunk takes long, and few enough to be forgotten beside
    /// the table.
    private static let windowPerProcessor = 6
    /// On however many processors: each chunk may have a file open, and programs have 1024 of them by default.
    private static let largestWindow = 512

    /// A chunk without a codec of its own mind: large enough to be read at a disk's full speed.
    private static let plainChunkSize = 256 << 10

    /// - Parameters:
    ///   - queue: The queue that reads the sources and writes the archive.
    ///   - codec: What chunks are encoded by; nil: nothing, and every chunk is stored as it is.
    ///   - chunkSize: Uncompressed bytes of a chunk, a multiple of 4096 and at most 16 MiB; nil: what the codec likes best,
    ///     or 256 KiB.
    public init(on queue: StorageQueue, codec: (any Codec)?, chunkSize: Int? = nil) {
        self.queue = queue
        self.codec = codec
        self.chunkSize = chunkSize ?? codec?.chunkSize ?? Self.plainChunkSize
        window = Self.window(processors: Int(linux_online_processors()))
    }

    package static func window(processors: Int) -> Int { min(windowPerProcessor * processors, largestWindow) }

    /// What has been written.
    public struct Summary: Sendable, Hashable {
        /// Entries with content.
        public var entries = 0
        /// Entries of a patch that say that the base's are gone.
        public var deletions = 0
        /// Uncompressed bytes.
        public var contentBytes: UInt64 = 0
        /// Bytes of chunks as they are stored.
        public var storedBytes: UInt64 = 0
        /// The size of the archive.
        public var fileSize: UInt64 = 0
    }

    /// Writes an archive, or a patch.
    ///
    /// Takes memory for a window of chunks and for the table, however much there is to pack.
    ///
    /// - Parameters:
    ///   - sources: What becomes an entry each, in any order.
    ///   - path: The archive. One that is there already is replaced when the new one is complete.
    ///   - base: What the archive is to be a patch of: then only what differs is written, and what is not among the sources
    ///     is deleted.
    ///   - progress: Called now and then, by one task at a time. It must be quick.
    /// - Throws: ``ArchiveError``. Nothing is left behind then, and what was there before is there still; except where the
    ///   disk fails at the very last, when the archive has got its name. Then it is there, complete, and the error says that
    ///   the disk does not confirm the name.
    @discardableResult
    public func write(
        _ sources: [ArchiveSource], to path: FilePath, over base: StorageArchive? = nil,
        progress: (@Sendable (ArchiveProgress) -> Void)? = nil
    ) async throws(ArchiveError) -> Summary {
        try checkChunks()
        let sources = try Self.ordered(sources)
        var plan = PackingPlan(all: sources)
        if let base {
            try await checkApart(path, base)
            plan = try await PackingPlan(sources, over: base, queue: queue, width: window)
        }
        try plan.checkTable(chunkSize, path)
        let output: ArchiveOutput
        do throws(StorageError) {
            output = try await ArchiveOutput(path, on: queue)
        } catch {
            throw ArchiveError(error, file: path, "The archive cannot be created")
        }
        do throws(ArchiveError) {
            return try await Packing(self, plan, output, progress).run(baseIdentity: base?.identity)
        } catch {
            output.abandon()
            throw error
        }
    }

    /// A patch in its base's place would have nothing to lie on.
    private func checkApart(_ path: FilePath, _ base: StorageArchive) async throws(ArchiveError) {
        let files = base.files.map(\.path)
        let below = try await queue.work(on: path, "The archive cannot be created") { () throws(ArchiveError) in
            files.first { isSameFile(path, $0) }
        }
        guard let below else { return }
        throw ArchiveError(
            .alreadyExists, file: below, "A patch cannot replace an archive that it lies on; name another")
    }

    private func checkChunks() throws(ArchiveError) {
        let block = Int(ArchiveFormat.blockSize)
        guard chunkSize > 0, chunkSize % block == 0, chunkSize <= ArchiveLimits().chunkBytes else {
            throw ArchiveError(.limitExceeded, "A chunk has a multiple of 4096 bytes, at most 16 MiB, not \(chunkSize)")
        }
        guard codec?.identifier.isPrintable ?? true else {
            throw ArchiveError(.unknownCodec, "A codec's identifier is four printable ASCII characters")
        }
    }

    /// The sources in the table's order, their paths checked.
    private static func ordered(_ sources: [ArchiveSource]) throws(ArchiveError) -> [ArchiveSource] {
        for source in sources {
            if let problem = EntryPath.problem(source.path) {
                throw ArchiveError(.invalidPath, entry: source.path, problem)
            }
        }
        let sources = sources.sorted { EntryPath.precedes($0.path, $1.path) }
        for (one, other) in zip(sources, sources.dropFirst()) {
            // Bytes, not characters: Swift's strings are equal when they look the same.
            if one.path.utf8.elementsEqual(other.path.utf8) {
                throw ArchiveError(.duplicatePath, entry: other.path, "Two sources have this path")
            }
            if other.path.utf8.starts(with: (one.path + "/").utf8) {
                throw ArchiveError(.conflictingPaths, entry: other.path, "`\(one.path)` cannot be a file and a folder")
            }
        }
        return sources
    }
}

/// Whether there is a file at each of the paths, and it is one and the same.
private func isSameFile(_ path: FilePath, _ other: FilePath) -> Bool {
    var (one, two) = (stat(), stat())
    // Paths need not be UTF-8.
    guard path.withPlatformString({ stat($0, &one) }) == 0, other.withPlatformString({ stat($0, &two) }) == 0 else {
        return false
    }
    return one.st_dev == two.st_dev && one.st_ino == two.st_ino
}

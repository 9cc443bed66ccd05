public import Penstock
public import PenstockCompression
public import SystemPackage

/// An open archive, or a base with the patches that lie on it.
///
/// ```swift
/// let archive = try await StorageArchive.open("assets.penstock", on: queue)
/// let rock = try await archive.read("textures/rock.ktx2")
/// ```
///
/// The table is in memory; of the rest, only the chunks are read that are asked for. Any number of tasks may read.
public struct StorageArchive: Sendable {
    /// How an archive is opened and read.
    public struct Options: Sendable {
        /// What the archive may ask for.
        public var limits = ArchiveLimits()
        /// Whether each chunk that is read is held against its checksum, which costs a tenth of decoding it, or less.
        public var verifiesChecksums = true
        /// How the page cache is used.
        public var caching = StorageFile.Caching.automatic
        /// Codecs by which entries may be encoded, in addition to this package's; the last one with an identifier counts.
        public var codecs: [any Codec] = []

        /// The defaults.
        public init() {}

        fileprivate var codecsByIdentifier: [UInt32: any Codec] {
            let own: [any Codec] = [
                GDeflate(framing: .page), GDeflate(framing: .tileStream), Zstd(), LZ4(), Deflate(framing: .raw),
                Deflate(framing: .zlib), Deflate(framing: .gzip),
            ]
            return (own + codecs).reduce(into: [:]) { $0[$1.identifier.rawValue] = $1 }
        }
    }

    private final class Storage: Sendable {
        let layers: [ArchiveLayer]
        let tables: [ArchiveTable]
        let index: MergedIndex

        init(_ layers: [ArchiveLayer]) throws(ArchiveError) {
            self.layers = layers
            tables = layers.map(\.table)
            index = try MergedIndex(tables)
        }
    }

    private let storage: Storage

    /// Opens an archive. A patch opened without its base shows what it holds itself.
    ///
    /// - Throws: ``ArchiveError``: what is wrong with the file, and at which byte.
    public static func open(
        _ path: FilePath, on queue: StorageQueue, options: Options = .init()
    ) async throws(ArchiveError) -> StorageArchive {
        try await open([path], on: queue, options: options)
    }

    /// Opens a base and the patches that lie on it, the lowest first.
    ///
    /// An entry of a patch replaces those of its path below it, or deletes them.
    /// - Throws: ``ArchiveError``; ``ArchiveError/Code/overlayMismatch`` for a patch whose base is not below it,
    ///   ``ArchiveError/Code/overlayCycle`` for an archive that is there twice.
    public static func open(
        _ paths: [FilePath], on queue: StorageQueue, options: Options = .init()
    ) async throws(ArchiveError) -> StorageArchive {
        let codecs = options.codecsByIdentifier
        var layers: [ArchiveLayer] = []
        for path in paths {
            do throws(ArchiveError) {
                let (file, table) = try await ArchiveTable.read(path, on: queue, options)
                layers.append(
                    ArchiveLayer(file, table, on: queue, verifies: options.verifiesChecksums, codecs: codecs))
            } catch {
                throw error.inFile(path)
            }
        }
        guard !layers.isEmpty else { throw ArchiveError(.noSuchEntry, "There is no archive in an empty list") }
        if let problem = Overlay.problem(layers.map(\.table.header)) {
            throw ArchiveError(problem.code, file: paths[problem.index], problem.message)
        }
        let checked = layers
        let storage = try await queue.work(on: paths[0], "The archive's table cannot be checked") {
            () throws(ArchiveError) in
            try Storage(checked)
        }
        return StorageArchive(storage: storage)
    }

    /// The entries, in the order of their paths.
    public var entries: Entries { Entries(archive: self) }

    /// The entry of that path, if there is one.
    /// - Complexity: O(log *n*)
    public subscript(path: String) -> ArchiveEntry? {
        var path = path
        let place = path.withUTF8 { storage.index.find($0.span.bytes, storage.tables) }
        return place.map { ArchiveEntry(storage.layers[Int($0.layer)], Int($0.entry)) }
    }

    /// The queue that reads.
    public var queue: StorageQueue { storage.layers[0].queue }

    var layers: [ArchiveLayer] { storage.layers }

    /// The archive files, the lowest first.
    public var files: [File] { layers.map(File.init) }

    /// What a patch of this archive names as its base.
    var identity: UInt64 { layers[layers.count - 1].table.header.identity }

    /// One of the files that make up what is open.
    public struct File: Sendable {
        private let layer: ArchiveLayer

        fileprivate init(_ layer: ArchiveLayer) { self.layer = layer }

        /// The path it was opened by.
        public var path: FilePath { layer.file.path }
        /// In bytes.
        public var size: UInt64 { layer.table.header.fileSize }
        /// Entries with content, and deletions.
        public var entryCount: Int { layer.table.header.entryCount }
        /// Chunks of all entries.
        public var chunkCount: Int { layer.table.header.chunkCount }
        /// Uncompressed bytes of all entries.
        public var contentSize: UInt64 { layer.table.header.contentSize }
        /// Whether it is meant to lie on another.
        public var isPatch: Bool { layer.table.header.isPatch }
        /// A number that no other archive has, save by a chance of one in 2⁶⁴.
        public var identity: UInt64 { layer.table.header.identity }
        /// The ``identity`` of what a patch is meant to lie on.
        public var baseIdentity: UInt64? { isPatch ? layer.table.header.baseIdentity : nil }
        /// The paths that a patch deletes, in their order.
        public var deletions: [String] {
            (0..<layer.table.count).compactMap { index in
                let entry = layer.table[entry: index]
                return entry.kind == .deletion ? layer.table.path(of: entry) : nil
            }
        }
    }

    /// An archive's entries, in the order of their paths.
    public struct Entries: RandomAccessCollection, Sendable {
        fileprivate let archive: StorageArchive

        /// 0.
        public var startIndex: Int { 0 }
        /// How many there are.
        public var endIndex: Int { archive.storage.index.count }

        /// The entry there.
        public subscript(position: Int) -> ArchiveEntry {
            precondition(indices.contains(position), "no such entry")
            let place = archive.storage.index[position]
            return ArchiveEntry(archive.storage.layers[Int(place.layer)], Int(place.entry))
        }
    }
}

extension ArchiveTable {
    /// Bytes read at a time.
    private static let pieceSize = 1 << 20

    fileprivate static func read(
        _ path: FilePath, on queue: StorageQueue, _ options: StorageArchive.Options
    ) async throws(ArchiveError) -> (StorageFile, ArchiveTable) {
        let file: StorageFile
        let fileSize: UInt64
        let buffer: HostBuffer
        do throws(StorageError) {
            file = try await queue.open(path, caching: options.caching)
            fileSize = try await file.size()
            buffer = try await queue.allocate(byteCount: pieceSize)
        } catch {
            throw ArchiveError(error, file: path, "The archive cannot be opened")
        }
        func read(at offset: UInt64, _ count: Int) async throws(ArchiveError) -> Int {
            do throws(StorageError) {
                return try await queue.read(from: file, at: offset, into: buffer[0..<count])
            } catch {
                throw ArchiveError(error, file: path, "The archive's table cannot be read")
            }
        }
        let headerCount = try await read(at: 0, ArchiveFormat.headerSize)
        let start = buffer[0..<headerCount].withUnsafeBytes { Array($0) }
        let header = try ArchiveHeader(start.span.bytes, fileSize: fileSize, limits: options.limits)
        var table: [UInt8] = []
        // The file has as many. Growing would copy all of it again and again, on a thread that is not for that.
        table.reserveCapacity(Int(header.tableSize))
        while table.count < Int(header.tableSize) {
            let wanted = min(Int(header.tableSize) - table.count, pieceSize)
            let count = try await read(at: header.tableOffset + UInt64(table.count), wanted)
            guard count > 0 else { break }
            buffer[0..<count].withUnsafeBytes { table.append(contentsOf: $0) }
        }
        let bytes = table
        let checked = try await queue.work(on: path, "The archive's table cannot be checked") {
            () throws(ArchiveError) in
            try ArchiveTable(bytes, header: header, limits: options.limits)
        }
        return (file, checked)
    }
}

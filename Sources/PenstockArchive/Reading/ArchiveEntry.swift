import Penstock
public import PenstockCompression

/// One file in an archive. It keeps its archive open.
public struct ArchiveEntry: Sendable {
    let layer: ArchiveLayer
    let record: ArchiveTable.Entry

    init(_ layer: ArchiveLayer, _ index: Int) {
        self.layer = layer
        record = layer.table[entry: index]
    }

    /// The path: relative, with single slashes.
    public var path: String { layer.table.path(of: record) }
    /// Uncompressed, in bytes.
    public var size: UInt64 { record.size }
    /// What its chunks are encoded by; nil: nothing.
    public var codec: CodecIdentifier? { record.codec == 0 ? nil : CodecIdentifier(rawValue: record.codec) }
    /// Uncompressed bytes of each chunk but the last; 0 for an entry without bytes.
    public var chunkSize: Int { record.chunkSize }
    /// How many chunks it has.
    public var chunkCount: Int { record.chunkCount }
    /// Bytes that its chunks take in the archive.
    /// - Complexity: O(``chunkCount``)
    public var storedSize: UInt64 {
        chunkIndexes.reduce(0) { $0 + UInt64(layer.table[chunk: $1].count) }
    }

    private var chunkIndexes: Range<Int> { record.firstChunk..<record.firstChunk + record.chunkCount }

    /// Where some of its chunks are.
    package func chunks(_ range: Range<Int>) -> [EncodedChunk] {
        precondition(range.lowerBound >= 0 && range.upperBound <= record.chunkCount, "no such chunk")
        return range.map { index in
            let chunk = layer.table[chunk: record.firstChunk + index]
            return EncodedChunk(
                offset: chunk.offset, count: chunk.count, decodedCount: record.decodedCount(ofChunk: index),
                isStored: chunk.isStored, checksum: layer.verifies ? chunk.checksum : nil)
        }
    }
}

extension ArchiveEntry: Hashable {
    /// Whether both are the same entry of the same archive, opened once.
    public static func == (one: Self, other: Self) -> Bool {
        one.layer === other.layer && one.record == other.record
    }

    /// Hashes the entry's place.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(layer))
        hasher.combine(record.pathOffset)
    }
}

/// A single archive file, open.
final class ArchiveLayer: Sendable {
    let file: StorageFile
    let queue: StorageQueue
    let table: ArchiveTable
    let verifies: Bool
    private let codecs: [UInt32: any Codec]

    init(
        _ file: StorageFile, _ table: ArchiveTable, on queue: StorageQueue, verifies: Bool, codecs: [UInt32: any Codec]
    ) {
        self.file = file
        self.table = table
        self.queue = queue
        self.verifies = verifies
        self.codecs = codecs
    }

    /// The codec of an entry; nil: its chunks are stored as they are.
    func codec(of entry: ArchiveTable.Entry) throws(ArchiveError) -> (any Codec)? {
        guard entry.codec != 0 else { return nil }
        guard let codec = codecs[entry.codec] else {
            throw ArchiveError(
                .unknownCodec, file: file.path, entry: table.path(of: entry),
                "The entry is encoded by `\(CodecIdentifier(rawValue: entry.codec))`; open the archive with that codec")
        }
        return codec
    }
}

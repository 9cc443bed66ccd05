import PenstockCompression

/// An archive's table: its entries in the order of their paths, and their chunks in the order of the file.
///
/// Holds the table's own bytes, checked once; an entry is decoded when it is asked for.
package struct ArchiveTable: Sendable {
    package let header: ArchiveHeader
    let bytes: [UInt8]

    var chunksStart: Int { header.entryCount * ArchiveFormat.entrySize }
    var pathsStart: Int { chunksStart + header.chunkCount * ArchiveFormat.chunkSize }

    /// What an entry is.
    package enum Kind: UInt8, Sendable {
        case file = 0
        /// Of a patch: the base's entry of this path is gone.
        case deletion = 1
    }

    /// One entry as it stands in the table.
    package struct Entry: Sendable, Hashable {
        package var pathOffset = 0
        package var pathLength = 0
        package var kind = Kind.file
        /// Uncompressed, in bytes.
        package var size: UInt64 = 0
        /// 0: every chunk is stored as it is.
        package var codec: UInt32 = 0
        /// Uncompressed bytes of each chunk but the last; 0 for an entry without bytes.
        package var chunkSize = 0
        package var firstChunk = 0
        package var chunkCount = 0

        package init() {}

        /// The uncompressed bytes of one of the entry's chunks.
        func decodedCount(ofChunk index: Int) -> Int {
            index < chunkCount - 1 ? chunkSize : Int(size - UInt64(index) * UInt64(chunkSize))
        }
    }

    /// One chunk as it stands in the table.
    package struct Chunk: Sendable, Hashable {
        package var offset: UInt64
        package var count: Int
        /// Not encoded.
        package var isStored: Bool
        package var checksum: UInt64

        package init(offset: UInt64, count: Int, isStored: Bool, checksum: UInt64) {
            self.offset = offset
            self.count = count
            self.isStored = isStored
            self.checksum = checksum
        }
    }

    /// Takes the checker's word.
    init(checked bytes: [UInt8], _ header: ArchiveHeader) {
        self.header = header
        self.bytes = bytes
    }

    package var count: Int { header.entryCount }

    package subscript(entry index: Int) -> Entry {
        precondition(index >= 0 && index < header.entryCount, "no such entry")
        let raw = bytes.span.bytes
        var entry = Entry()
        // The kinds are checked.
        entry.kind = Kind(rawValue: raw.entryKind(index))!
        entry.readNumbers(raw, index)
        return entry
    }

    package subscript(chunk index: Int) -> Chunk {
        precondition(index >= 0 && index < header.chunkCount, "no such chunk")
        let place = chunksStart + index * ArchiveFormat.chunkSize
        let raw = bytes.span.bytes
        return Chunk(
            offset: raw.number(at: place), count: Int(raw.number(at: place + 8, as: UInt32.self)),
            isStored: raw.number(at: place + 12, as: UInt32.self) & 1 != 0, checksum: raw.number(at: place + 16))
    }

    /// Calls `body` with the bytes of an entry's path.
    func withPath<R>(of entry: Entry, _ body: (RawSpan) -> R) -> R {
        let start = pathsStart + entry.pathOffset
        return body(bytes.span.bytes.extracting(start..<start + entry.pathLength))
    }

    package func path(of entry: Entry) -> String {
        let start = pathsStart + entry.pathOffset
        return String(decoding: bytes[start..<start + entry.pathLength], as: UTF8.self)
    }

    /// The index of the entry with that path.
    /// - Complexity: O(log *n*)
    package func find(_ path: RawSpan) -> Int? {
        var (low, high) = (0, count)
        while low < high {
            let middle = low + (high - low) / 2
            let order = withPath(of: self[entry: middle]) { EntryPath.order($0, path) }
            if order == 0 { return middle }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return nil
    }
}

extension RawSpan {
    /// The byte that says what the entry is, in a table's bytes.
    func entryKind(_ index: Int) -> UInt8 { number(at: index * ArchiveFormat.entrySize + 6) }
}

extension ArchiveTable.Entry {
    /// Reads all but the kind.
    mutating func readNumbers(_ table: RawSpan, _ index: Int) {
        let place = index * ArchiveFormat.entrySize
        pathOffset = Int(table.number(at: place, as: UInt32.self))
        pathLength = Int(table.number(at: place + 4, as: UInt16.self))
        size = table.number(at: place + 8)
        codec = table.number(at: place + 16)
        chunkSize = Int(table.number(at: place + 20, as: UInt32.self))
        firstChunk = Int(table.number(at: place + 24, as: UInt32.self))
        chunkCount = Int(table.number(at: place + 28, as: UInt32.self))
    }
}

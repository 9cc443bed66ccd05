/// Collects a table, entry by entry, in the order of their paths.
package struct TableBuilder: Sendable {
    private var entries: [UInt8] = []
    private var chunks: [UInt8] = []
    private var paths: [UInt8] = []
    private var entryCount = 0
    private var chunkCount = 0
    private var largestChunk = 0
    private var contentSize: UInt64 = 0

    package init() {}

    /// Adds an entry with its chunks, which lie behind those of the entries before it.
    ///
    /// - Parameters:
    ///   - codec: What the chunks are encoded by; forgotten where each is stored as it is.
    ///   - chunkSize: The uncompressed bytes of each chunk but the last.
    package mutating func append(
        _ path: String, _ kind: ArchiveTable.Kind = .file, size: UInt64 = 0, codec: UInt32 = 0, chunkSize: Int = 0,
        chunks list: [ArchiveTable.Chunk] = []
    ) throws(ArchiveError) {
        var name = path
        let length = name.withUTF8 { bytes in
            entries.append(number: UInt32(truncatingIfNeeded: paths.count))
            paths += bytes
            return bytes.count
        }
        guard chunkCount + list.count <= Int(UInt32.max), paths.count <= Int(UInt32.max) else {
            throw ArchiveError(.limitExceeded, entry: path, "An archive's table cannot count so many chunks or paths")
        }
        entries.append(number: UInt16(length))
        entries.append(kind.rawValue)
        entries.append(0)
        entries.append(number: size)
        entries.append(number: list.allSatisfy(\.isStored) ? 0 : codec)
        entries.append(number: UInt32(list.isEmpty ? 0 : chunkSize))
        entries.append(number: UInt32(chunkCount))
        entries.append(number: UInt32(list.count))
        for chunk in list {
            chunks.append(number: chunk.offset)
            chunks.append(number: UInt32(chunk.count))
            chunks.append(number: UInt32(chunk.isStored ? 1 : 0))
            chunks.append(number: chunk.checksum)
        }
        entryCount += 1
        chunkCount += list.count
        contentSize += size
        if !list.isEmpty { largestChunk = max(largestChunk, chunkSize) }
    }

    /// The table's bytes, and the header of a file whose last part they are.
    package func finished(at tableOffset: UInt64, baseIdentity: UInt64? = nil) -> (
        header: ArchiveHeader, table: [UInt8]
    ) {
        let table = entries + chunks + paths
        var header = ArchiveHeader()
        header.isPatch = baseIdentity != nil
        header.baseIdentity = baseIdentity ?? 0
        header.tableOffset = tableOffset
        header.entryCount = entryCount
        header.chunkCount = chunkCount
        header.pathByteCount = paths.count
        header.largestChunk = largestChunk
        header.contentSize = contentSize
        header.fileSize = tableOffset + header.tableSize
        header.tableChecksum = checksum(table.span.bytes)
        return (header, table)
    }
}

import Penstock
import PenstockArchive

/// An archive's bytes, made by hand: right at first, then as wrong as a test wants them, with checksums that fit.
struct TableImage {
    struct Line {
        var path: String
        var kind = ArchiveTable.Kind.file
        /// Each chunk's stored bytes; none is encoded, so they are also its uncompressed ones.
        var chunks: [Int] = []
        var size: UInt64?
        var chunkSize = 4096
        var codec: UInt32 = 0
    }

    private(set) var header: ArchiveHeader
    private(set) var table: [UInt8]
    private var content: [UInt8]

    init(_ lines: [Line], isPatch: Bool = false) {
        var builder = TableBuilder()
        var content = [UInt8](repeating: 0, count: ArchiveFormat.headerSize)
        for line in lines {
            var chunks: [ArchiveTable.Chunk] = []
            for count in line.chunks {
                content += [UInt8](repeating: 0, count: (16 - content.count % 16) % 16)
                let bytes = FilePattern.bytes(count)
                chunks.append(
                    .init(
                        offset: UInt64(content.count), count: count, isStored: true,
                        checksum: checksum(bytes.span.bytes)))
                content += bytes
            }
            try! builder.append(
                line.path, line.kind, size: line.size ?? UInt64(line.chunks.reduce(0, +)), codec: line.codec,
                chunkSize: line.chunkSize, chunks: chunks)
        }
        content += [UInt8](repeating: 0, count: (16 - content.count % 16) % 16)
        self.content = content
        (header, table) = builder.finished(at: UInt64(content.count), baseIdentity: isPatch ? 1 : nil)
    }

    /// Deterministic bytes that do not repeat.
    private enum FilePattern {
        static func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 5) } }
    }

    /// The whole file. The table's checksum and the header's are made anew.
    var bytes: [UInt8] {
        var header = header
        header.tableChecksum = checksum(table.span.bytes)
        var content = content
        content.replaceSubrange(0..<ArchiveFormat.headerSize, with: header.encoded())
        return content + table
    }

    /// Where a field of an entry is in the table.
    static func entry(_ index: Int, _ field: Int) -> Int { index * ArchiveFormat.entrySize + field }

    /// Where a field of a chunk is in the table.
    func chunk(_ index: Int, _ field: Int) -> Int {
        header.entryCount * ArchiveFormat.entrySize + index * ArchiveFormat.chunkSize + field
    }

    func path(_ offset: Int) -> Int { chunk(header.chunkCount, 0) + offset }

    /// Where a place of the table is in the file.
    func place(_ offset: Int) -> UInt64 { header.tableOffset + UInt64(offset) }

    mutating func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        withUnsafeBytes(of: value.littleEndian) { table.replaceSubrange(offset..<offset + $0.count, with: $0) }
    }

    mutating func put(_ text: [UInt8], at offset: Int) {
        table.replaceSubrange(offset..<offset + text.count, with: text)
    }

    mutating func changeHeader(_ body: (inout ArchiveHeader) -> Void) { body(&header) }
}

/// What parsing the bytes throws, or nil.
func parsingFailure(_ bytes: [UInt8], limits: ArchiveLimits = .init()) -> ArchiveError? {
    do throws(ArchiveError) {
        _ = try ArchiveTable(archive: bytes, limits: limits)
        return nil
    } catch {
        return error
    }
}

/// The first 128 bytes of an archive.
///
/// `Documentation/Penstock.docc/ArchiveFormat.md` has every byte.
package struct ArchiveHeader: Sendable, Hashable {
    package var isPatch = false
    /// Of the whole file; the table is its last part.
    package var fileSize: UInt64 = 0
    package var tableOffset: UInt64 = 0
    package var entryCount = 0
    package var chunkCount = 0
    package var pathByteCount = 0
    /// The most uncompressed bytes of any chunk.
    package var largestChunk = 0
    /// The uncompressed bytes of all entries.
    package var contentSize: UInt64 = 0
    /// The ``identity`` of the archive that a patch lies on; 0 without one.
    package var baseIdentity: UInt64 = 0
    package var tableChecksum: UInt64 = 0
    /// The header's own checksum. It covers the table's, and so every chunk's: equal archives and no others have it.
    package private(set) var identity: UInt64 = 0

    package init() {}

    /// A header by itself, for what depends on nothing else: with the checksum that it would have.
    package init(identity: UInt64, baseIdentity: UInt64?) {
        self.identity = identity
        isPatch = baseIdentity != nil
        self.baseIdentity = baseIdentity ?? 0
    }

    package var tableSize: UInt64 { Self.tableSize(entryCount, chunkCount, pathByteCount) }

    package static func tableSize(_ entries: Int, _ chunks: Int, _ pathBytes: Int) -> UInt64 {
        UInt64(entries * ArchiveFormat.entrySize + chunks * ArchiveFormat.chunkSize + pathBytes)
    }

    private static let patchFlag: UInt32 = 1
    private static let checksumOffset = 120
    private static let reserved = 88..<120

    /// The header's bytes.
    package func encoded() -> [UInt8] {
        var bytes = ArchiveFormat.magic
        bytes.append(number: ArchiveFormat.majorVersion)
        bytes.append(number: ArchiveFormat.minorVersion)
        bytes.append(number: isPatch ? Self.patchFlag : 0)
        bytes.append(number: fileSize)
        bytes.append(number: tableOffset)
        bytes.append(number: tableSize)
        bytes.append(number: UInt32(entryCount))
        bytes.append(number: UInt32(chunkCount))
        bytes.append(number: UInt32(pathByteCount))
        bytes.append(number: UInt32(largestChunk))
        bytes.append(number: UInt32(ArchiveFormat.blockSize))
        bytes.append(number: UInt32(ArchiveFormat.alignment))
        bytes.append(number: contentSize)
        bytes.append(number: baseIdentity)
        bytes.append(number: tableChecksum)
        bytes += [UInt8](repeating: 0, count: Self.reserved.count)
        bytes.append(number: checksum(bytes.span.bytes))
        return bytes
    }

    /// Reads and checks a header.
    ///
    /// - Parameters:
    ///   - bytes: The file's first bytes: 128, or as many as it has.
    ///   - fileSize: The size that the file really has.
    package init(_ bytes: RawSpan, fileSize: UInt64, limits: ArchiveLimits = .init()) throws(ArchiveError) {
        for index in 0..<min(bytes.byteCount, ArchiveFormat.magic.count)
        where bytes.number(at: index, as: UInt8.self) != ArchiveFormat.magic[index] {
            throw ArchiveError(.notAnArchive, offset: UInt64(index), "The file does not begin like a .penstock archive")
        }
        guard bytes.byteCount >= ArchiveFormat.headerSize, fileSize >= UInt64(ArchiveFormat.headerSize) else {
            let end = min(UInt64(bytes.byteCount), fileSize)
            throw ArchiveError(.truncated, offset: end, "The file ends within its header of 128 bytes")
        }
        let version: UInt16 = bytes.number(at: 8)
        guard version == ArchiveFormat.majorVersion else {
            throw ArchiveError(
                .unsupportedVersion, offset: 8, "The archive has version \(version); this library reads version 1")
        }
        identity = bytes.number(at: Self.checksumOffset)
        guard checksum(bytes.extracting(0..<Self.checksumOffset)) == identity else {
            throw ArchiveError(
                .checksumMismatch, offset: UInt64(Self.checksumOffset), "The header is damaged: its checksum differs")
        }
        try readFields(bytes, limits)
        guard self.fileSize == fileSize else {
            guard fileSize < self.fileSize else {
                throw ArchiveError(.malformed, offset: self.fileSize, "Bytes follow the end of the archive")
            }
            throw ArchiveError(
                .truncated, offset: fileSize, "The file ends early: it was written with \(self.fileSize) bytes")
        }
    }

    /// From here on the bytes are as somebody wrote them, which may have been with ill intent.
    private mutating func readFields(_ bytes: RawSpan, _ limits: ArchiveLimits) throws(ArchiveError) {
        let flags: UInt32 = bytes.number(at: 12)
        guard flags & ~Self.patchFlag == 0 else {
            throw ArchiveError(.unsupportedVersion, offset: 12, "The archive has features unknown to this library")
        }
        isPatch = flags & Self.patchFlag != 0
        fileSize = bytes.number(at: 16)
        tableOffset = bytes.number(at: 24)
        entryCount = Int(bytes.number(at: 40, as: UInt32.self))
        chunkCount = Int(bytes.number(at: 44, as: UInt32.self))
        pathByteCount = Int(bytes.number(at: 48, as: UInt32.self))
        largestChunk = Int(bytes.number(at: 52, as: UInt32.self))
        contentSize = bytes.number(at: 64)
        baseIdentity = bytes.number(at: 72)
        tableChecksum = bytes.number(at: 80)

        // Never overflows: three numbers of 32 bits, times at most 32.
        guard bytes.number(at: 32, as: UInt64.self) == tableSize else {
            throw ArchiveError(.malformed, offset: 32, "The table's size does not follow from its counts")
        }
        guard entryCount <= limits.entries else {
            throw ArchiveError(.limitExceeded, offset: 40, "\(entryCount) entries are more than the limit's")
        }
        guard tableSize <= limits.tableBytes else {
            throw ArchiveError(.limitExceeded, offset: 32, "A table of \(tableSize) bytes is larger than the limit")
        }
        guard largestChunk <= limits.chunkBytes else {
            throw ArchiveError(.limitExceeded, offset: 52, "Chunks of \(largestChunk) bytes are larger than the limit")
        }
        guard
            bytes.number(at: 56, as: UInt32.self) == ArchiveFormat.blockSize,
            bytes.number(at: 60, as: UInt32.self) == ArchiveFormat.alignment
        else { throw ArchiveError(.malformed, offset: 56, "The alignments are not those of version 1") }
        let (end, overflow) = tableOffset.addingReportingOverflow(tableSize)
        guard tableOffset >= UInt64(ArchiveFormat.headerSize), tableOffset % ArchiveFormat.alignment == 0, !overflow,
            end == fileSize
        else { throw ArchiveError(.malformed, offset: 24, "The table does not lie at the end of the file") }
        guard isPatch || baseIdentity == 0 else {
            throw ArchiveError(.malformed, offset: 72, "An archive that is no patch has a base")
        }
        for index in Self.reserved where bytes.number(at: index, as: UInt8.self) != 0 {
            throw ArchiveError(.malformed, offset: UInt64(index), "Reserved bytes of the header are not zero")
        }
    }
}

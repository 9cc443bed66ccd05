import PenstockCompression

extension ArchiveTable {
    /// Reads and checks a table, from bytes that may be anything. Nothing of it is believed before it has been checked.
    ///
    /// - Parameter bytes: The file's bytes from the header's `tableOffset` on.
    /// - Complexity: O(*n*), without memory of its own.
    package init(
        _ bytes: [UInt8], header: ArchiveHeader, limits: ArchiveLimits = .init()
    ) throws(ArchiveError) {
        guard bytes.count == header.tableSize else {
            throw ArchiveError(
                .truncated, offset: header.tableOffset + UInt64(bytes.count), "The file ends within its table")
        }
        guard checksum(bytes.span.bytes) == header.tableChecksum else {
            throw ArchiveError(
                .checksumMismatch, offset: header.tableOffset, "The table is damaged: its checksum differs")
        }
        self.init(checked: bytes, header)
        var check = Check(header: header, limits: limits)
        try check.checkEncoding(bytes.span.extracting(pathsStart..<bytes.count), at: pathsStart)
        try check.run(bytes.span.bytes, pathsStart: pathsStart, chunksStart: chunksStart)
    }

    /// The same for a whole archive in memory, for tests and fuzzers.
    package init(archive: [UInt8], limits: ArchiveLimits = .init()) throws(ArchiveError) {
        let header = try ArchiveHeader(archive.span.bytes, fileSize: UInt64(archive.count), limits: limits)
        try self.init(Array(archive[Int(header.tableOffset)...]), header: header, limits: limits)
    }
}

/// One pass over a table. Whatever could be told in two ways must be told in one: chunks in the order of the file, paths
/// and chunk lists without gaps. So nothing can be shared, hidden or in a loop.
private struct Check {
    let header: ArchiveHeader
    let limits: ArchiveLimits
    /// Where the next path, chunk and chunk's bytes are to begin.
    var nextPath = 0
    var nextChunk = 0
    var end = UInt64(ArchiveFormat.headerSize)
    var contentSize: UInt64 = 0
    var largestChunk = 0
    /// The places of the last path, and of the last path of a file.
    var lastPath: Range<Int>?
    var lastFile: Range<Int>?

    mutating func run(_ table: RawSpan, pathsStart: Int, chunksStart: Int) throws(ArchiveError) {
        for index in 0..<header.entryCount {
            let entry = try checkEntry(index, table)
            let path = pathsStart + nextPath..<pathsStart + nextPath + entry.pathLength
            try checkPath(path, of: entry, index, table)
            try checkChunks(of: entry, index, table, chunksStart: chunksStart)
            nextPath += entry.pathLength
            largestChunk = max(largestChunk, entry.chunkSize)
        }
        guard nextPath == header.pathByteCount, nextChunk == header.chunkCount else {
            throw ArchiveError(.malformed, offset: 44, "There are chunks or paths that belong to no entry")
        }
        guard header.tableOffset - end < ArchiveFormat.blockSize else {
            throw ArchiveError(.malformed, offset: end, "There is a gap between the last chunk and the table")
        }
        guard largestChunk == header.largestChunk else {
            throw ArchiveError(.malformed, offset: 52, "No entry's chunks have \(header.largestChunk) bytes")
        }
        guard contentSize == header.contentSize else {
            throw ArchiveError(.malformed, offset: 64, "The entries' sizes do not add up to the header's")
        }
    }

    private func place(_ offset: Int) -> UInt64 { header.tableOffset + UInt64(offset) }

    /// All paths at once: a path that begins at a character's first byte is as good as the whole.
    func checkEncoding(_ paths: Span<UInt8>, at start: Int) throws(ArchiveError) {
        do throws(UTF8.ValidationError) {
            _ = try UTF8Span(validating: paths)
        } catch {
            throw ArchiveError(
                .invalidPath, offset: place(start + error.byteOffsets.lowerBound), "A path is not UTF-8")
        }
    }

    private func checkEntry(_ index: Int, _ table: RawSpan) throws(ArchiveError) -> ArchiveTable.Entry {
        let start = index * ArchiveFormat.entrySize
        func require(_ condition: Bool, _ field: Int, _ message: String) throws(ArchiveError) {
            if !condition { throw ArchiveError(.malformed, offset: place(start + field), "Entry \(index): \(message)") }
        }
        var entry = ArchiveTable.Entry()
        entry.readNumbers(table, index)
        guard let kind = ArchiveTable.Kind(rawValue: table.entryKind(index)) else {
            throw ArchiveError(.unsupportedVersion, offset: place(start + 6), "Entry \(index) is of an unknown kind")
        }
        entry.kind = kind
        try require(table.number(at: start + 7, as: UInt8.self) == 0, 7, "a reserved byte is not zero")
        try require(entry.pathOffset == nextPath, 0, "its path does not follow the last one's")
        try require(entry.pathLength <= header.pathByteCount - nextPath, 4, "its path leaves the table")
        try require(entry.firstChunk == nextChunk, 24, "its chunks do not follow the last entry's")
        try require(entry.chunkCount <= header.chunkCount - nextChunk, 28, "its chunks leave the table")
        if kind == .deletion {
            try require(header.isPatch, 6, "a deletion in what is no patch")
            try require(entry.size == 0, 8, "a deletion with bytes")
        }
        guard entry.size > 0 else {
            try require(
                entry.codec == 0 && entry.chunkSize == 0 && entry.chunkCount == 0, 16, "chunks of no bytes")
            return entry
        }
        guard entry.chunkSize <= min(limits.chunkBytes, header.largestChunk) else {
            throw ArchiveError(.limitExceeded, offset: place(start + 20), "Entry \(index): its chunks are too large")
        }
        try require(
            entry.chunkSize > 0 && entry.chunkSize % Int(ArchiveFormat.blockSize) == 0, 20,
            "its chunks' size is no multiple of 4096")
        try require(
            entry.codec == 0 || CodecIdentifier(rawValue: entry.codec).isPrintable, 16,
            "its codec is no four characters")
        // Multiplied rather than divided: the count has 32 bits and the size 25, so nothing overflows.
        let (room, size) = (UInt64(entry.chunkCount) * UInt64(entry.chunkSize), entry.size)
        try require(
            size <= room && room - size < UInt64(entry.chunkSize), 28, "its size does not follow from its chunks")
        return entry
    }

    private mutating func checkPath(
        _ range: Range<Int>, of entry: ArchiveTable.Entry, _ index: Int, _ table: RawSpan
    ) throws(ArchiveError) {
        let path = table.extracting(range)
        func refuse(_ code: ArchiveError.Code, _ message: String) -> ArchiveError {
            ArchiveError(code, offset: place(range.lowerBound), "Entry \(index): \(message)")
        }
        if let problem = EntryPath.problem(path) { throw refuse(.invalidPath, problem) }
        // A continuation byte of UTF-8: the path would begin within a character.
        guard path.number(at: 0, as: UInt8.self) & 0xC0 != 0x80 else {
            throw refuse(.invalidPath, "The path is not UTF-8")
        }
        if let lastPath {
            let order = EntryPath.order(table.extracting(lastPath), path)
            if order == 0 { throw refuse(.duplicatePath, "it has the path of the entry before it") }
            if order > 0 { throw refuse(.unsorted, "its path belongs before the last one's") }
        }
        lastPath = range
        guard entry.kind == .file else { return }
        // What is in a folder follows the folder's name at once, so that only the last file can be one.
        if let lastFile, EntryPath.isFolder(table.extracting(lastFile), of: path) {
            throw refuse(.conflictingPaths, "a folder of its path is a file in the archive")
        }
        lastFile = range
    }

    private mutating func checkChunks(
        of entry: ArchiveTable.Entry, _ index: Int, _ table: RawSpan, chunksStart: Int
    ) throws(ArchiveError) {
        var isEncoded = false
        for number in 0..<entry.chunkCount {
            let start = chunksStart + (nextChunk + number) * ArchiveFormat.chunkSize
            func refuse(_ code: ArchiveError.Code, _ field: Int, _ message: String) -> ArchiveError {
                ArchiveError(code, offset: place(start + field), "Entry \(index), chunk \(number): \(message)")
            }
            let offset: UInt64 = table.number(at: start)
            let count = Int(table.number(at: start + 8, as: UInt32.self))
            let flags: UInt32 = table.number(at: start + 12)
            let decodedCount = entry.decodedCount(ofChunk: number)
            guard offset >= end else { throw refuse(.overlap, 0, "it begins before the end of what is before it") }
            guard offset < header.tableOffset, UInt64(count) <= header.tableOffset - offset else {
                throw refuse(.overlap, 0, "it reaches into the table, or beyond the file")
            }
            guard offset % ArchiveFormat.alignment == 0 else { throw refuse(.malformed, 0, "it is not aligned") }
            guard offset - end < ArchiveFormat.blockSize else {
                throw refuse(.malformed, 0, "there is a gap of more than 4095 bytes before it")
            }
            guard flags <= 1 else { throw refuse(.unsupportedVersion, 12, "it has unknown flags") }
            guard count > 0, count <= decodedCount, (flags == 1) == (count == decodedCount) else {
                throw refuse(.malformed, 8, "it has \(count) stored bytes for \(decodedCount)")
            }
            guard flags == 1 || entry.codec != 0 else { throw refuse(.malformed, 12, "it is encoded by no codec") }
            isEncoded = isEncoded || flags == 0
            end = offset + UInt64(count)
        }
        guard isEncoded || entry.codec == 0 else {
            throw ArchiveError(
                .malformed, offset: place(index * ArchiveFormat.entrySize + 16),
                "Entry \(index): a codec that none of its chunks needs")
        }
        nextChunk += entry.chunkCount
        // Never overflows: at most 2⁵⁷ bytes, for all chunks have less than 16 MiB and there are less than 2³² of them.
        contentSize += entry.size
    }
}

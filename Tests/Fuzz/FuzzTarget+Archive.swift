import PenstockArchive

extension FuzzTarget {
    /// An archive's header and table, of which the first byte of the input says whether they are taken as they are or
    /// made to fit first: checksums would else keep every made-up table out.
    static let archive = FuzzTarget(name: "archive") { input, _ in
        guard let first = input.first else { return }
        var bytes = Array(input.dropFirst())
        if first & 1 != 0 { bytes = fitted(bytes) }
        var limits = ArchiveLimits()
        limits.tableBytes = 1 << 20
        do throws(ArchiveError) {
            try check(try ArchiveTable(archive: bytes, limits: limits), of: bytes.count)
        } catch {
            if error.code == brokenPromise { throw BrokenPromise(error.message) }
            // The header's sizes are those of the file, so that what is missing is missing at its end.
            let offset = try unwrap(error.offset, "an error has a place: \(error)")
            try require(offset <= UInt64(bytes.count) || error.code == .malformed, "within the file: \(error)")
        }
    }

    private static let brokenPromise = ArchiveError.Code.sourceChanged

    private static func unwrap<T>(_ value: T?, _ promise: String) throws -> T {
        guard let value else { throw BrokenPromise(promise) }
        return value
    }

    /// The bytes with sizes and checksums that fit, if their counts leave room for a table.
    private static func fitted(_ input: [UInt8]) -> [UInt8] {
        guard input.count >= ArchiveFormat.headerSize else { return input }
        var bytes = input
        func number(at offset: Int, bytes: Int) -> Int {
            (0..<bytes).reduce(0) { $0 | Int(input[offset + $1]) << (8 * $1) }
        }
        var header = ArchiveHeader()
        header.isPatch = input[12] & 1 != 0
        header.entryCount = number(at: 40, bytes: 2)
        header.chunkCount = number(at: 44, bytes: 2)
        header.pathByteCount = number(at: 48, bytes: 2)
        header.contentSize = (0..<8).reduce(0) { $0 | UInt64(input[64 + $1]) << UInt64(8 * $1) }
        header.baseIdentity = header.isPatch ? 1 : 0
        let room = input.count - ArchiveFormat.headerSize
        guard header.tableSize <= UInt64(room) else { return input }
        let start = (input.count - Int(header.tableSize)) / 16 * 16
        bytes.removeSubrange(start + Int(header.tableSize)..<bytes.count)
        header.tableOffset = UInt64(start)
        let chunkSizes = (0..<header.entryCount).map { index in
            number(at: start + index * ArchiveFormat.entrySize + 20, bytes: 4)
        }
        header.largestChunk = chunkSizes.max() ?? 0
        header.fileSize = UInt64(bytes.count)
        header.tableChecksum = checksum(bytes.span.bytes.extracting(start..<bytes.count))
        bytes.replaceSubrange(0..<ArchiveFormat.headerSize, with: header.encoded())
        return bytes
    }

    /// What a table promises that has been let through.
    private static func check(_ table: ArchiveTable, of fileSize: Int) throws(ArchiveError) {
        func require(_ condition: Bool, _ promise: String) throws(ArchiveError) {
            if !condition { throw ArchiveError(brokenPromise, promise) }
        }
        var end = UInt64(ArchiveFormat.headerSize)
        var size: UInt64 = 0
        var last: String?
        for index in 0..<table.count {
            let entry = table[entry: index]
            let path = table.path(of: entry)
            try require(EntryPath.problem(path) == nil, "a path that leads nowhere else: \(path)")
            if let last { try require(EntryPath.precedes(last, path), "paths ascend: \(last), \(path)") }
            last = path
            let found = Array(path.utf8).withUnsafeBytes { table.find($0.bytes) }
            try require(found == index, "an entry is found by its path: \(path)")
            for number in 0..<entry.chunkCount {
                let chunk = table[chunk: entry.firstChunk + number]
                try require(chunk.offset >= end && chunk.count > 0, "chunks follow one another")
                end = chunk.offset + UInt64(chunk.count)
                try require(end <= table.header.tableOffset, "chunks lie before the table")
            }
            size += entry.size
        }
        try require(size == table.header.contentSize, "sizes add up")
        try require(table.header.fileSize == UInt64(fileSize), "the file has its size")
    }
}

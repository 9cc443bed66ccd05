import PenstockArchive
import TestSupport
import Testing

/// Tables that were made to do harm: a typed error that names the place, never more.
@Suite struct HostileTables {
    /// Three entries: of two chunks, of none, of one.
    private let image = TableImage([
        .init(path: "a/one", chunks: [4096, 100]), .init(path: "b"), .init(path: "c", chunks: [17]),
    ])

    private func expect(
        _ code: ArchiveError.Code, at offset: UInt64?, _ image: TableImage,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let error = parsingFailure(image.bytes)
        #expect(error?.code == code && error?.offset == offset, "\(error as Any)", sourceLocation: sourceLocation)
    }

    /// Changes the image, and expects the table to be refused with that code, naming that place of the table.
    private func expect<T: FixedWidthInteger>(
        _ code: ArchiveError.Code, putting value: T, at offset: Int, in image: TableImage? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var image = image ?? self.image
        image.put(value, at: offset)
        expect(code, at: image.place(offset), image, sourceLocation: sourceLocation)
    }

    @Test func theImageIsRightToBeginWith() throws {
        #expect(parsingFailure(image.bytes) == nil)
        let table = try ArchiveTable(archive: image.bytes)
        #expect(table.count == 3 && table.header.contentSize == 4213)
        #expect((0..<3).map { table.path(of: table[entry: $0]) } == ["a/one", "b", "c"])
        #expect(table.find("b".utf8Span.span.bytes) == 1 && table.find("bb".utf8Span.span.bytes) == nil)
        #expect(parsingFailure(TableImage([]).bytes) == nil)
    }

    @Test func chunksMayNotOverlap() {
        // The second chunk on the first, the third on the second, the first on the header, the last on the table.
        let offset = UInt64(ArchiveFormat.headerSize)
        expect(.overlap, putting: offset as UInt64, at: image.chunk(1, 0))
        expect(.overlap, putting: offset + 4096, at: image.chunk(2, 0))
        expect(.overlap, putting: UInt64(16), at: image.chunk(0, 0))
        expect(.overlap, putting: image.header.tableOffset, at: image.chunk(2, 0))
        for offset in [UInt64.max, .max - 15, 1 << 63, image.header.fileSize] as [UInt64] {
            expect(.overlap, putting: offset, at: image.chunk(2, 0), in: nil)
        }
    }

    @Test func chunksAreAlignedAndWithoutGaps() {
        expect(.malformed, putting: UInt64(ArchiveFormat.headerSize + 8), at: image.chunk(0, 0))
        // 8192 bytes lie between the first chunk and the table: a gap of a whole block within.
        let wide = TableImage([.init(path: "a", chunks: [16]), .init(path: "b", chunks: [4096, 4096])])
        var moved = wide
        moved.put(wide.header.tableOffset - 4096, at: wide.chunk(1, 0))
        expect(.malformed, at: wide.place(wide.chunk(1, 0)), moved)
    }

    @Test func chunksHaveThePlainSizesOrLess() {
        for count in [UInt32(0), 4097, .max] {
            let error = parsingFailure(
                {
                    var image = image; image.put(count, at: image.chunk(0, 8)); return image.bytes
                }())
            #expect(error?.code == .malformed || error?.code == .overlap, "\(error as Any)")
        }
        // Encoded by no codec; with unknown flags; stored, and yet smaller.
        var encoded = image
        encoded.put(UInt32(0), at: image.chunk(0, 12))
        encoded.put(UInt32(4000), at: image.chunk(0, 8))
        expect(.malformed, at: image.place(image.chunk(0, 12)), encoded)
        expect(.unsupportedVersion, putting: UInt32(2), at: image.chunk(0, 12))
        expect(
            .malformed, at: image.place(image.chunk(1, 8)),
            {
                var image = image
                image.put(UInt32(99), at: image.chunk(1, 8))
                return image
            }())
    }

    @Test func entriesTakeTheirPathsAndChunksInOrder() {
        expect(.malformed, putting: UInt32(1), at: TableImage.entry(0, 0))
        expect(.malformed, putting: UInt32.max, at: TableImage.entry(1, 0))
        expect(.malformed, putting: UInt16.max, at: TableImage.entry(2, 4))
        expect(.malformed, putting: UInt32(1), at: TableImage.entry(0, 24))
        expect(.malformed, putting: UInt32(0), at: TableImage.entry(2, 24))
        expect(.malformed, putting: UInt32.max, at: TableImage.entry(0, 28))
        expect(.malformed, putting: UInt32(1), at: TableImage.entry(0, 28))
        // The last entry without its chunk, which is then nobody's.
        var orphan = image
        orphan.put(UInt64(0), at: TableImage.entry(2, 8))
        orphan.put(UInt32(0), at: TableImage.entry(2, 20))
        orphan.put(UInt32(0), at: TableImage.entry(2, 28))
        expect(.malformed, at: 44, orphan)
    }

    @Test func sizesFollowFromChunks() {
        for size in [UInt64(8193), 4096, 1 << 40, .max] {
            var image = image
            image.put(size, at: TableImage.entry(0, 8))
            let error = parsingFailure(image.bytes)
            #expect(error?.code == .malformed && error?.offset == image.place(TableImage.entry(0, 28)), "\(size)")
        }
        expect(.malformed, putting: UInt32(100), at: TableImage.entry(0, 20))
        expect(.malformed, putting: UInt32(0), at: TableImage.entry(0, 20))
        expect(.limitExceeded, putting: UInt32(1 << 30), at: TableImage.entry(0, 20))
        // An entry of no bytes that has a codec all the same.
        var empty = image
        empty.put(UInt32(7), at: TableImage.entry(1, 16))
        expect(.malformed, at: image.place(TableImage.entry(1, 16)), empty)
    }

    @Test func codecsAreNamedWhereTheyAreNeeded() {
        // All chunks of the image are stored as they are.
        expect(.malformed, putting: UInt32(0x6474_737A), at: TableImage.entry(0, 16))
        expect(.malformed, putting: UInt32(7), at: TableImage.entry(0, 16))
    }

    @Test func kindsAreKnown() {
        expect(.unsupportedVersion, putting: UInt8(2), at: TableImage.entry(1, 6))
        expect(.malformed, putting: UInt8(1), at: TableImage.entry(1, 6))
        expect(.malformed, putting: UInt8(1), at: TableImage.entry(1, 7))
        let patch = TableImage([.init(path: "a", kind: .deletion), .init(path: "b", chunks: [1])], isPatch: true)
        #expect(parsingFailure(patch.bytes) == nil)
        expect(.malformed, putting: UInt64(1), at: TableImage.entry(0, 8), in: patch)
    }

    @Test func pathsCannotEscape() {
        let bad: [[UInt8]] = [
            Array("/abcd".utf8), Array("../ab".utf8), Array("a/../".utf8), Array("a//bc".utf8), Array("a/./b".utf8),
            Array("abcd/".utf8), Array("ab\0cd".utf8), Array("ab/..".utf8), [0x61, 0x2F, 0xFF, 0x62, 0x63],
            [0x61, 0xC3, 0x28, 0x62, 0x63], [0x61, 0xED, 0xA0, 0x80, 0x62], [0xC0, 0xAF, 0x61, 0x62, 0x63],
        ]
        for path in bad {
            var image = image
            image.put(path, at: image.path(0))
            let error = parsingFailure(image.bytes)
            #expect(error?.code == .invalidPath && error?.offset != nil, "\(path): \(error as Any)")
        }
        // A character of two bytes, one in this path and one in the next.
        var torn = image
        torn.put([UInt8(ascii: "a"), 0x2F, 0x62, 0x62, 0xC3, 0xA4], at: image.path(0))
        expect(.invalidPath, at: image.place(image.path(5)), torn)
    }

    @Test func pathsAreSortedAndDifferent() {
        expect(
            .duplicatePath, at: image.place(image.path(6)),
            {
                var image = image
                image.put(Array("b".utf8), at: image.path(6))
                return image
            }())
        expect(
            .unsorted, at: image.place(image.path(6)),
            {
                var image = image
                image.put(Array("a".utf8), at: image.path(6))
                return image
            }())
    }

    @Test func noFileIsAFolder() {
        let image = TableImage([.init(path: "a/one"), .init(path: "a/one/b")])
        expect(.conflictingPaths, at: image.place(image.path(5)), image)
        let patch = TableImage(
            [.init(path: "a"), .init(path: "a/b", kind: .deletion), .init(path: "a0")], isPatch: true)
        #expect(parsingFailure(patch.bytes) == nil)
        let hidden = TableImage(
            [.init(path: "a"), .init(path: "a/b", kind: .deletion), .init(path: "a/c")], isPatch: true)
        #expect(parsingFailure(hidden.bytes)?.code == .conflictingPaths)
    }

    @Test func countsAreBelievedOnlyWithinTheFile() {
        for change: (inout ArchiveHeader) -> Void in [
            { $0.entryCount = Int(UInt32.max) }, { $0.chunkCount = Int(UInt32.max) },
            { $0.pathByteCount = Int(UInt32.max) }, { $0.entryCount += 1 }, { $0.chunkCount -= 1 },
            { $0.pathByteCount -= 1 }, { $0.tableOffset = .max }, { $0.tableOffset += 16 }, { $0.tableOffset = 0 },
            { $0.fileSize = .max }, { $0.fileSize -= 1 }, { $0.contentSize += 1 }, { $0.largestChunk = 1 << 31 },
            { $0.largestChunk = 1 }, { $0.largestChunk += 4096 }, { $0.baseIdentity = 1 },
        ] {
            var image = image
            image.changeHeader(change)
            let error = parsingFailure(image.bytes)
            #expect(error != nil && error?.offset != nil, "\(image.header)")
            #expect(
                [.malformed, .limitExceeded, .truncated].contains(error?.code), "\(image.header): \(error as Any)")
        }
    }

    @Test func limitsAreTheReaders() {
        var limits = ArchiveLimits()
        limits.entries = 2
        #expect(parsingFailure(image.bytes, limits: limits)?.code == .limitExceeded)
        limits = ArchiveLimits()
        limits.tableBytes = 100
        #expect(parsingFailure(image.bytes, limits: limits)?.code == .limitExceeded)
        limits = ArchiveLimits()
        limits.chunkBytes = 2048
        #expect(parsingFailure(image.bytes, limits: limits)?.code == .limitExceeded)
    }

    @Test func whatFollowsTheEndIsAnError() {
        let bytes = image.bytes
        let error = parsingFailure(bytes + [0])
        #expect(error?.code == .malformed && error?.offset == UInt64(bytes.count))
    }

    @Test func everyTruncationIsATypedErrorWithItsOffset() {
        let bytes = image.bytes
        for count in 0..<bytes.count {
            let error = parsingFailure(Array(bytes[..<count]))
            #expect(error?.code == .truncated && error?.offset == UInt64(count), "\(count): \(error as Any)")
        }
    }

    @Test func everyFlippedBitOfHeaderAndTableIsFound() {
        let bytes = image.bytes
        let tableStart = Int(image.header.tableOffset)
        for index in Array(0..<ArchiveFormat.headerSize) + Array(tableStart..<bytes.count) {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[index] ^= 1 << bit
                let error = parsingFailure(damaged)
                #expect(error != nil && error?.offset != nil, "byte \(index), bit \(bit)")
            }
        }
    }

    /// Whatever the table says, with checksums that fit: an error or a table that keeps its promises.
    @Test func randomTablesAreRefusedOrConsistent() {
        forEachSeed("random tables", count: 300) { random in
            var image = image
            for _ in 0...random.below(3) {
                let offset = random.below(image.table.count)
                image.put(UInt8(truncatingIfNeeded: random.next()), at: offset)
            }
            if random.chance(30) {
                image.put(UInt32(truncatingIfNeeded: random.next()), at: random.below(image.table.count - 4))
            }
            guard let table = try? ArchiveTable(archive: image.bytes) else { return }
            var end = UInt64(ArchiveFormat.headerSize)
            for index in 0..<table.count {
                let entry = table[entry: index]
                #expect(EntryPath.problem(table.path(of: entry)) == nil, "seed \(random.seed)")
                for chunk in entry.firstChunk..<entry.firstChunk + entry.chunkCount {
                    #expect(table[chunk: chunk].offset >= end, "seed \(random.seed)")
                    end = table[chunk: chunk].offset + UInt64(table[chunk: chunk].count)
                }
            }
            #expect(end <= table.header.tableOffset, "seed \(random.seed)")
        }
    }
}

import Penstock
import TestSupport
import Testing

/// What is read is what the file holds, and what is written is what it holds afterwards, at any place and alignment.
@Suite(.timeLimit(.minutes(10))) struct RoundTrips {
    private let directory = TemporaryDirectory()

    private static let fileSize = 3_000_017

    /// A range of the file, half of the time aligned to blocks, and a shift of the memory's address.
    private func place(_ random: inout SeededRandom, within size: Int) -> (offset: Int, count: Int, shift: Int) {
        let unit = random.chance(50) ? 4096 : 1
        let offset = random.below(size) / unit * unit
        let most = random.chance(30) ? size - offset : min(size - offset, 1 << (1 + random.below(20)))
        let count = max(1, random.below(most + 1) / unit * unit)
        return (offset, min(count, size - offset), random.chance(50) ? 0 : random.below(4096))
    }

    @Test(arguments: Driver.allCases, StorageFile.Caching.allCases)
    func readsAtAnyOffsetLengthAndAlignment(_ driver: Driver, _ caching: StorageFile.Caching) async throws {
        let path = directory.make("file", count: Self.fileSize)
        var random = seededOnce("reads, \(driver) \(caching)")
        for inlineLimit in [0, 64 << 10, 1 << 20] {
            let configuration = driver.configuration {
                $0.inlineLimit = inlineLimit
                $0.pieceSize = 256 << 10
            }
            try await withStorageQueue(configuration) { queue in
                let file = try await queue.open(path, caching: caching)
                let buffer = try await queue.allocate(byteCount: Self.fileSize + 8192)
                for step in 0..<60 {
                    if step % 4 == 0 { dropFromCache(path) }
                    let (offset, count, shift) = place(&random, within: Self.fileSize)
                    let slice = buffer[shift..<shift + count]
                    FilePattern(99).fill(buffer[...], at: 0)
                    #expect(try await queue.read(from: file, at: UInt64(offset), into: slice) == count)
                    let text = "seed \(random.seed), step \(step): \(count) bytes at \(offset), memory at \(shift)"
                    #expect(FilePattern().matches(slice, at: UInt64(offset)), "\(text)")
                    #expect(FilePattern(99).matches(buffer[..<shift], at: 0), "wrote before the slice: \(text)")
                    #expect(
                        FilePattern(99).matches(buffer[(shift + count)...], at: UInt64(shift + count)),
                        "wrote behind the slice: \(text)")
                }
            }
        }
    }

    @Test(arguments: Driver.allCases, StorageFile.Caching.allCases)
    func writesAtAnyOffsetLengthAndAlignment(_ driver: Driver, _ caching: StorageFile.Caching) async throws {
        let path = directory.make("file", count: Self.fileSize)
        var expected = FilePattern().bytes(0..<Self.fileSize)
        var random = seededOnce("writes, \(driver) \(caching)")
        let configuration = driver.configuration { $0.pieceSize = 64 << 10 }
        try await withStorageQueue(configuration) { queue in
            let file = try await queue.open(path, .readWrite, caching: caching)
            let buffer = try await queue.allocate(byteCount: Self.fileSize + 8192)
            for step in 0..<60 as Range<UInt64> {
                if step % 8 == 0 { dropFromCache(path) }
                let (offset, count, shift) = place(&random, within: Self.fileSize)
                let slice = buffer[shift..<shift + count]
                FilePattern(step + 2).fill(slice, at: UInt64(offset))
                #expect(try await queue.write(slice, to: file, at: UInt64(offset)) == count)
                slice.withUnsafeBytes { expected.replaceSubrange(offset..<offset + count, with: $0) }
                // Read back through the queue, wherever the bytes are now.
                let back = try await queue.read(from: file, UInt64(offset)..<UInt64(offset + count))
                #expect(FilePattern(step + 2).matches(back, at: UInt64(offset)), "seed \(random.seed), step \(step)")
            }
            try await file.sync(.full)
        }
        #expect(directory.contents(path) == expected, "seed \(random.seed)")
        dropFromCache(path)
        #expect(directory.contents(path) == expected, "seed \(random.seed): on the disk")
    }

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func spansOfAnyMemoryAreReadIntoAndWrittenFrom(_ driver: Driver, _ inlineLimit: Int) async throws {
        let path = directory.make("file", count: 100_000)
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            for caching in StorageFile.Caching.allCases {
                let file = try await queue.open(path, .readWrite, caching: caching)
                var bytes = [UInt8](repeating: 0, count: 50_001)
                var span = bytes.mutableSpan
                var raw = span.mutableBytes
                let count = try await queue.read(from: file, at: 777, into: &raw)
                #expect(count == 50_001)
                #expect(bytes == FilePattern().bytes(777..<50_778))
                #expect(try await queue.write(bytes.span.bytes, to: file, at: 777) == 50_001)
                try await file.close()
            }
        }
        #expect(directory.contents(path) == FilePattern().bytes(0..<100_000))
    }

    @Test(arguments: Driver.allCases, StorageFile.Caching.allCases)
    func bytesBeyondFourGigabytesAreRightAndCountedRight(_ driver: Driver, _ caching: StorageFile.Caching) async throws
    {
        let size: Int64 = 5 << 30
        let path = directory.makeSparse("large", size: size)
        let places: [Int64] = [(1 << 31) - 5000, (1 << 32) - 5000, (1 << 32) + 12345, size - 10_000]
        for place in places { directory.write(path, place..<place + 10_000) }
        dropFromCache(path)
        try await withStorageQueue(driver.configuration { $0.pieceSize = 4096 }) { queue in
            let file = try await queue.open(path, .readWrite, caching: caching)
            #expect(try await file.size() == UInt64(size))
            for place in places.map(UInt64.init) {
                let buffer = try await queue.read(from: file, place..<place + 10_000)
                #expect(buffer.count == 10_000 && FilePattern().matches(buffer, at: place), "at \(place)")
            }
            // Past the old end, which lies past 4 GiB.
            let buffer = try await queue.allocate(byteCount: 5000)
            FilePattern(7).fill(buffer[...], at: UInt64(size) + 100)
            #expect(try await queue.write(buffer[...], to: file, at: UInt64(size) + 100) == 5000)
            #expect(try await file.size() == UInt64(size) + 5100)
            let back = try await queue.read(from: file, UInt64(size)..<UInt64(size) + 6000)
            #expect(back.count == 5100 && back.bytes.prefix(100).allSatisfy { $0 == 0 })
            #expect(FilePattern(7).matches(back[100...], at: UInt64(size) + 100))
        }
    }

    @Test(arguments: Driver.allCases)
    func readsLargerThanAPieceAreWholeAndInPlace(_ driver: Driver) async throws {
        let size = 20 << 20
        let path = directory.make("large", count: size)
        for caching in StorageFile.Caching.allCases {
            dropFromCache(path)
            try await withStorageQueue(driver.ringOnly { $0.pieceSize = 64 << 10 }) { queue in
                let file = try await queue.open(path, caching: caching)
                let buffer = try await queue.read(from: file)
                #expect(buffer.count == size && FilePattern().matches(buffer), "\(caching)")
                let statistics = await queue.statistics
                #expect(statistics.bytesRead == UInt64(size) && statistics.requests == 1)
                #expect(statistics.peakBytesInFlight <= queue.configuration.bytesInFlight)
            }
        }
    }
}

import Penstock
import PenstockCompression
import TestSupport
import Testing

/// What is encoded on its way to a file comes back decoded, from wherever the file's bytes are.
@Suite struct EncodedReads {
    static let codecs: [any Codec] = [
        GDeflate(level: 3, framing: .page), GDeflate(level: 3), Zstd(), LZ4(), Deflate(framing: .zlib),
    ]

    /// Where the bytes are when they are read.
    enum Source: CaseIterable, Sendable { case cache, disk, direct }

    @Test(arguments: Driver.allCases, Source.allCases)
    func everyCodecComesBack(_ driver: Driver, _ source: Source) async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("decoding from \(source) by \(driver)")
        try await withStorageQueue(driver.configuration()) { queue in
            for (index, codec) in Self.codecs.enumerated() {
                let path = directory["\(index)"]
                let bytes = Sample.halves.bytes(500_000, &random)
                let written = try await queue.open(path, [.writeOnly, .create])
                let chunks = try await queue.write(bytes, to: written, at: 1000, encoding: codec, checkedBy: testHash)
                try await written.close()
                if source != .cache { dropFromCache(path) }
                let file = try await queue.open(path, caching: source == .direct ? .direct : .automatic)
                #expect(
                    try await queue.bytes(of: file, chunks, decoding: codec, checkedBy: testHash) == bytes,
                    "\(codec.identifier), seed \(random.seed)")
                for _ in 0..<20 {
                    let start = random.below(bytes.count)
                    let range = start..<start + random.below(bytes.count - start + 1)
                    let part = try await queue.bytes(of: file, chunks, range, decoding: codec)
                    #expect(part == Array(bytes[range]), "\(codec.identifier), \(range), seed \(random.seed)")
                }
            }
        }
    }

    @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 1 << 20])
    func everySizeComesBack(_ count: Int) async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("\(count) bytes, encoded")
        let bytes = Sample.text.bytes(count, &random)
        try await withStorageQueue { queue in
            let file = try await queue.open(directory["file"], [.readWrite, .create])
            for codec in Self.codecs {
                let chunks = try await queue.write(bytes, to: file, encoding: codec)
                #expect(try await queue.bytes(of: file, chunks, decoding: codec) == bytes)
            }
        }
    }

    @Test func aTileStreamIsTheEncodersOwn() async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("tile streams")
        for count in [0, 1, 65_536, 200_000] {
            let bytes = Sample.text.bytes(count, &random)
            let codec = GDeflate(level: 2)
            try await withStorageQueue { queue in
                let file = try await queue.open(directory["\(count)"], [.readWrite, .create])
                let chunks = try await queue.write(bytes, to: file, at: 0, encoding: codec)
                #expect(directory.contents(file.path) == (try codec.encoded(bytes)))
                #expect(chunks.count == 1 || count == 0)
                // As one piece, tile by tile.
                let buffer = try await queue.allocate(byteCount: max(1, count))
                let size = Int(try await file.size())
                let read = try await queue.read(from: file, count: size, into: buffer[0..<count], decoding: codec)
                #expect(read == count)
                #expect(Array(buffer.bytes.prefix(count)) == bytes)
                // Not as more, nor as fewer.
                let larger = try await queue.allocate(byteCount: count + 1)
                await expectFailure(.malformedData) {
                    try await queue.read(from: file, count: size, into: larger[...], decoding: codec)
                }
                await expectFailure(.malformedData) {
                    try await queue.read(from: file, count: size + 1, into: buffer[0..<count], decoding: codec)
                }
            }
        }
    }

    @Test func whatEncodingDoesNotShrinkIsStored() async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("stored chunks")
        let bytes = Sample.noise.bytes(200_000, &random)
        try await withStorageQueue { queue in
            let file = try await queue.open(directory["noise"], [.readWrite, .create])
            let chunks = try await queue.write(bytes, to: file, encoding: Zstd(), checkedBy: testHash)
            #expect(chunks.allSatisfy { $0.isStored && $0.count == $0.decodedCount })
            #expect(directory.contents(file.path) == bytes)
            for isDropped in [false, true] {
                if isDropped { dropFromCache(file.path) }
                #expect(try await queue.bytes(of: file, chunks, decoding: Zstd(), checkedBy: testHash) == bytes)
                let part = try await queue.bytes(of: file, chunks, 65_000..<140_000, decoding: Zstd())
                #expect(part == Array(bytes[65_000..<140_000]))
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func manySmallRequestsAtOnceEachGetTheirOwn(_ driver: Driver) async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("small chunks by \(driver)")
        try await withStorageQueue(driver.configuration()) { queue in
            let path = directory["small"]
            let file = try await queue.open(path, [.readWrite, .create])
            var contents: [[UInt8]] = []
            var chunks: [[EncodedChunk]] = []
            var end: UInt64 = 0
            for _ in 0..<300 {
                let bytes = Sample.text.bytes(random.below(20_000), &random)
                contents.append(bytes)
                chunks.append(try await queue.write(bytes, to: file, at: end, encoding: LZ4(), checkedBy: testHash))
                // Neighbours, near ones and far ones.
                end =
                    (chunks.last!.last.map { $0.offset + UInt64($0.count) } ?? end)
                    + UInt64([0, 15, 9000][random.below(3)])
            }
            // One of them is damaged.
            let victim = contents.indices.first { $0 > 100 && contents[$0].count > 1000 }!
            directory.write(path, Int64(chunks[victim][0].offset + 20)..<Int64(chunks[victim][0].offset + 40))
            for isDropped in [false, true] {
                if isDropped { dropFromCache(path) }
                var buffers: [HostBuffer] = []
                for bytes in contents { buffers.append(try await queue.allocate(byteCount: max(1, bytes.count))) }
                let requests = contents.indices.shuffled(using: &random).map { index in
                    (
                        index,
                        DecodingRequest(
                            from: file, chunks: chunks[index], into: buffers[index][0..<contents[index].count],
                            decoding: LZ4(), checkedBy: testHash)
                    )
                }
                let results = await queue.perform(requests.map(\.1))
                for ((index, _), result) in zip(requests, results) {
                    if index == victim {
                        #expect(result.code == .checksumMismatch)
                    } else {
                        #expect(result.value == contents[index].count, "\(result)")
                        #expect(Array(buffers[index].bytes.prefix(contents[index].count)) == contents[index])
                    }
                }
            }
            let statistics = queue.decodingStatistics
            #expect(statistics.cpu.chunks >= 500 && statistics.cpu.nanoseconds > 0)
            #expect(statistics.cpu.decodedBytes > statistics.cpu.encodedBytes)
        }
    }

    @Test func destinationsThatTakeAllMemoryLeaveRoomForDecoding() async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("no memory left")
        let bytes = Sample.text.bytes(2 << 20, &random)
        var configuration = StorageQueue.Configuration()
        configuration.hostMemoryLimit = 4 << 20
        try await withStorageQueue(configuration) { queue in
            let file = try await queue.open(directory["file"], [.readWrite, .create])
            let chunks = try await queue.write(bytes, to: file, encoding: Zstd())
            dropFromCache(file.path)
            let all = try await queue.allocate(byteCount: 4 << 20)
            let count = try await queue.read(from: file, chunks: chunks, into: all[0..<bytes.count], decoding: Zstd())
            #expect(Array(all.bytes.prefix(count)) == bytes)
        }
    }
}

import PenstockCompression
import TestSupport
import Testing

/// Heads of streams that say what cannot be.
@Suite struct TileStreams {
    private let codec = GDeflate(level: 1)
    private let count = 3 * 65_536 + 100

    private func stream() throws -> [UInt8] {
        var random = SeededRandom(3)
        return try codec.encoded(Sample.text.bytes(count, &random))
    }

    private func put(_ word: Int, at offset: Int, in stream: inout [UInt8]) {
        for byte in 0..<4 { stream[offset + byte] = UInt8(truncatingIfNeeded: word >> (8 * byte)) }
    }

    private func word(at offset: Int, of stream: [UInt8]) -> Int {
        (0..<4).reduce(0) { $0 | Int(stream[offset + $1]) << (8 * $1) }
    }

    @Test func everyTruncationOfTheHeadFails() throws {
        let stream = try stream()
        for length in 0..<200 { #expect(codec.failure(Array(stream.prefix(length)), count: count) != nil) }
        #expect(codec.failure([], count: 0)?.code == .truncated)
    }

    @Test(arguments: [(0, 0), (4, 4), (0xFB, 4), (0xFE, 0xFB), (5, 0xFA)])
    func otherBeginnings(_ identifier: UInt8, _ magic: UInt8) throws {
        var stream = try stream()
        (stream[0], stream[1]) = (identifier, magic)
        #expect(codec.failure(stream, count: count)?.code == .malformed)
    }

    @Test func otherTileSizes() throws {
        var stream = try stream()
        stream[4] = stream[4] & ~3 | 2
        #expect(codec.failure(stream, count: count)?.code == .notSupported)
    }

    @Test func otherSizesThanTheDestination() throws {
        let stream = try stream()
        for count in [0, count - 1, count + 1, 4 * 65_536] {
            #expect(codec.failure(stream, count: count)?.code == .sizeMismatch)
        }
    }

    @Test func aLastTileLargerThanATile() throws {
        var stream = try stream()
        put(1 | 65_537 << 2, at: 4, in: &stream)
        #expect(codec.failure(stream, count: count)?.code == .malformed)
        // No tiles, and yet a last one.
        #expect(codec.failure([4, 0xFB, 0, 0, 5, 0, 0, 0], count: 1)?.code == .malformed)
    }

    @Test func moreTilesThanTheStreamHasOffsetsFor() throws {
        var stream = try stream()
        (stream[2], stream[3]) = (0xFF, 0xFF)
        #expect(throws: CodecError.self) { try GDeflate.TileStream(stream.span.bytes) }
    }

    @Test func offsetsOutOfOrderOrOutside() throws {
        let good = try stream()
        let second = word(at: 12, of: good)
        for (place, value) in [
            (12, word(at: 16, of: good) + 4), (16, second - 4), (16, 0), (20, 0xFFFF_FFFF), (12, 0x8000_0000),
            (8, 0xFFFF_FFFF), (8, 0), (8, word(at: 8, of: good) - 4), (8, word(at: 8, of: good) + 4),
        ] {
            var stream = good
            put(value, at: place, in: &stream)
            #expect(codec.failure(stream, count: count) != nil, "\(value) at \(place)")
        }
    }

    @Test func bytesBehindTheLastTile() throws {
        #expect(codec.failure(try stream() + [0], count: count)?.code == .malformed)
    }

    @Test func anErrorNamesItsTileAndPlace() throws {
        var stream = try stream()
        let head = try GDeflate.TileStream(stream.span.bytes)
        let page = head.page(of: 2)
        // The reserved type of block.
        stream[page.lowerBound] |= 6
        let error = try #require(codec.failure(stream, count: count))
        #expect(error.code == .malformed && error.message.hasPrefix("Tile 2:"))
        #expect(page.contains(error.offset ?? -1))
    }

    @Test func everyFlippedBitOfTheHeadFails() throws {
        let stream = try stream()
        for bit in 0..<(8 * (8 + 4 * 4)) {
            var damaged = stream
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            // The twelve reserved bits may be anything.
            let isReserved = (4 * 8 + 20..<8 * 8).contains(bit)
            #expect((codec.failure(damaged, count: count) == nil) == isReserved, "bit \(bit)")
        }
    }
}

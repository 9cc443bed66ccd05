import PenstockCompression
import TestSupport
import Testing

@Suite struct RoundTrips {
    @Test(arguments: Sample.allCases, Sample.sizes + [4096])
    func aPageComesBack(_ sample: Sample, _ count: Int) throws {
        var random = seededOnce("page of \(count) \(sample)")
        let bytes = sample.bytes(count, &random)
        for level in [0, 1, 4, 6, 7, 8, 9, 12] {
            let codec = GDeflate(level: level, framing: .page)
            let side: GuardedBytes.Side = level % 2 == 0 ? .back : .front
            let page = try codec.encoded(bytes, side: side)
            #expect(page.count % 4 == 0 && page.count <= codec.bound(of: count))
            #expect(try codec.decoded(page, count: count, side: side) == bytes, "level \(level), seed \(random.seed)")
        }
    }

    @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 200_000, 4 << 20])
    func aStreamComesBack(_ count: Int) throws {
        var random = seededOnce("stream of \(count)")
        let codec = GDeflate(level: 1)
        let bytes = Sample.records.bytes(count, &random)
        let stream = try codec.encoded(bytes)
        #expect(stream.count <= codec.bound(of: count))
        let head = try GDeflate.TileStream(stream.span.bytes)
        #expect(head.byteCount == count && head.tileCount == (count + 65_535) / 65_536)
        #expect(try codec.decoded(stream, count: count) == bytes, "seed \(random.seed)")

        var other = stream
        (other[0], other[1]) = (0xFE, 0x01)
        #expect(try codec.decoded(other, count: count) == bytes, "seed \(random.seed)")
    }

    @Test func aTileIsAPage() throws {
        var random = seededOnce("tiles")
        let bytes = Sample.text.bytes(150_000, &random)
        let stream = try GDeflate(level: 4).encoded(bytes)
        let head = try GDeflate.TileStream(stream.span.bytes)
        for tile in 0..<head.tileCount {
            let part = head.destination(of: tile)
            let page = try GDeflate(framing: .page).decoded(Array(stream[head.page(of: tile)]), count: part.count)
            #expect(page == Array(bytes[part]))
        }
    }

    @Test func aDestinationOfTheSizeSuffices() throws {
        var random = seededOnce("destination")
        let bytes = Sample.text.bytes(100_000, &random)
        for framing in [GDeflate.Framing.page, .tileStream] {
            let codec = GDeflate(level: 3, framing: framing)
            let source = framing == .page ? Array(bytes.prefix(50_000)) : bytes
            let encoded = try codec.encoded(source)
            #expect(try codec.encoded(source, room: encoded.count) == encoded)
            for room in [0, 5, 20, encoded.count - 1] {
                do throws(CodecError) {
                    _ = try codec.encoded(source, room: room)
                    Issue.record("fitted into \(room) bytes")
                } catch { #expect(error.code == .destinationTooSmall) }
            }
        }
    }
}

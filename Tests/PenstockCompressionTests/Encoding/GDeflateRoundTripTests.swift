import PenstockCompression
import TestSupport
import Testing

@Suite struct GDeflateRoundTripTests {
    private static func roundTrip(_ bytes: [UInt8], _ codec: GDeflate) throws -> [UInt8] {
        var encoded = [UInt8](repeating: 0, count: codec.bound(of: bytes.count))
        var encodedSpan = encoded.mutableSpan
        var room = encodedSpan.mutableBytes
        let size = try codec.encode(bytes.span.bytes, into: &room)
        var decoded = [UInt8](repeating: 0xA5, count: bytes.count)
        var decodedSpan = decoded.mutableSpan
        var destination = decodedSpan.mutableBytes
        try codec.decode(encoded.span.bytes.extracting(0..<size), into: &destination)
        return decoded
    }

    @Test(arguments: [0, 1, 4, 6, 7, 8, 9, 12])
    func everyPageComesBack(level: Int) throws {
        var random = seededOnce("pages")
        for kind in SamplePage.allCases {
            for size in SamplePage.sizes + [1 + random.below(20000)] {
                let bytes = kind.bytes(size, using: &random)
                let decoded = try Self.roundTrip(bytes, GDeflate(level: level, framing: .page))
                #expect(decoded == bytes, "\(kind), \(size) bytes, seed \(random.seed)")
            }
        }
    }

    @Test(arguments: [0, 1, 6, 9])
    func everyStreamComesBack(level: Int) throws {
        var random = seededOnce("streams")
        for size in [0, 1, 65536, 65537, 3 * 65536 + random.below(65536)] {
            let kind = SamplePage.allCases[random.below(SamplePage.allCases.count)]
            let bytes = kind.bytes(size, using: &random)
            #expect(try Self.roundTrip(bytes, GDeflate(level: level)) == bytes, "\(kind), \(size), seed \(random.seed)")
        }
    }
}

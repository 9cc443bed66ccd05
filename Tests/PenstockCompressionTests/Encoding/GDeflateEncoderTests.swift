import TestSupport
import Testing

@testable import PenstockCompression

/// What a page's bytes are is for the decoder's tests to say; how many there are, and that they are the same, for these.
@Suite struct GDeflateEncoderTests {
    @Test(arguments: [0, 1, 6, 9])
    func noPageIsLargerThanTheBound(level: Int) {
        var random = seededOnce("bound")
        let encoder = PageEncoder(level: level)
        for kind in Sample.allCases {
            for size in Sample.sizes {
                let page = encoder.page(kind.bytes(size, &random))
                #expect(page != nil && page!.count % 4 == 0, "\(kind), \(size) bytes, seed \(random.seed)")
            }
        }
    }

    @Test(arguments: [0, 1, 9])
    func aPageFitsExactlyOrNotAtAll(level: Int) throws {
        var random = seededOnce("room")
        let encoder = PageEncoder(level: level)
        for kind in Sample.allCases {
            let bytes = kind.bytes(1 + random.below(20000), &random)
            let page = try #require(encoder.page(bytes))
            #expect(encoder.page(bytes, room: page.count) == page, "seed \(random.seed)")
            #expect(encoder.page(bytes, room: page.count - 1) == nil, "seed \(random.seed)")
            #expect(encoder.page(bytes, room: 0) == nil)
        }
    }

    @Test(arguments: [1, 6, 8, 9])
    func whatWasEncodedBeforeMakesNoDifference(level: Int) {
        var random = seededOnce("determinism")
        let used = PageEncoder(level: level)
        for kind in Sample.allCases {
            let bytes = kind.bytes(1 + random.below(20000), &random)
            let fresh = PageEncoder(level: level)
            let page = fresh.page(bytes)
            #expect(used.page(bytes) == page, "\(kind), seed \(random.seed)")
        }
    }

    @Test func levelZeroStores() throws {
        var random = seededOnce("stored")
        let encoder = PageEncoder(level: 0)
        let bytes = Sample.noise.bytes(1000, &random)
        let page = try #require(encoder.page(bytes))
        // Lane 0 has the header's 19 bits and every 32nd byte, and so on; each lane takes a word more than it fills.
        let words = (0..<32).reduce(0) { words, lane in
            let bits = (lane == 0 ? 19 : 0) + 8 * ((1000 - lane + 31) / 32)
            return words + (bits + 31) / 32 + 1
        }
        #expect(page.count == 4 * words)
    }

    @Test func randomBytesAreStored() throws {
        var random = seededOnce("random")
        let stored = PageEncoder(level: 0)
        let bytes = Sample.noise.bytes(65536, &random)
        let size = try #require(stored.page(bytes)).count
        for level in [1, 6, 9] {
            let encoder = PageEncoder(level: level)
            let page = try #require(encoder.page(bytes))
            #expect(page.count <= size + 4 * 32, "level \(level), seed \(random.seed)")
        }
    }

    @Test func levelsBeyondTheEndsAreTheLast() {
        var random = seededOnce("levels")
        let bytes = Sample.text.bytes(20000, &random)
        for (given, meant) in [(-5, 0), (13, 12), (Int.max, 12), (Int.min, 0)] {
            let first = PageEncoder(level: given)
            let second = PageEncoder(level: meant)
            #expect(first.page(bytes) == second.page(bytes))
        }
    }

    @Test func equalBytesTakeNextToNothing() throws {
        for level in 1...12 {
            let encoder = PageEncoder(level: level)
            let page = try #require(encoder.page(Array(repeating: 7, count: 65536)))
            // 32 lanes of a word or two.
            #expect(page.count <= 256, "level \(level)")
        }
    }

    @Test func moreEffortIsNotWorse() throws {
        var random = seededOnce("effort")
        let bytes = Sample.text.bytes(65536, &random)
        var sizes: [Int] = []
        for level in [0, 1, 6, 9, 12] {
            let encoder = PageEncoder(level: level)
            sizes.append(try #require(encoder.page(bytes)).count)
        }
        for (less, more) in zip(sizes, sizes.dropFirst()) {
            #expect(more <= less + less / 100, "\(sizes), seed \(random.seed)")
        }
    }
}

/// An encoder that the testing macros can hold: they copy what they look at.
private final class PageEncoder {
    private var encoder: GDeflateEncoder

    init(level: Int) { encoder = GDeflateEncoder(level: level) }

    /// Encodes into so many bytes, and checks that none behind them are touched.
    func page(_ bytes: [UInt8], room: Int = GDeflateEncoder.pageBound) -> [UInt8]? {
        let guardBytes = 64
        var destination = [UInt8](repeating: 0xA5, count: room + guardBytes)
        let size = bytes.withUnsafeBytes { source in
            destination.withUnsafeMutableBytes { destination in
                encoder.encodePage(source, into: UnsafeMutableRawBufferPointer(rebasing: destination[..<room]))
            }
        }
        #expect(destination[room...].allSatisfy { $0 == 0xA5 })
        return size.map { Array(destination[..<$0]) }
    }
}

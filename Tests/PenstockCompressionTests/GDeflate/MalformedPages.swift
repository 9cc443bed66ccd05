import PenstockCompression
import TestSupport
import Testing

/// No bytes whatever make the decoder do anything but throw, or give exactly the bytes asked for.
@Suite struct MalformedPages {
    private let codec = GDeflate(framing: .page)

    private func fixed(_ body: (inout PageScript) -> Void) -> [UInt8] {
        var script = PageScript()
        script.begin(.fixed)
        body(&script)
        script.endFixed()
        return script.page
    }

    @Test func aMatchFromBeforeTheStart() {
        let page = fixed {
            $0.fixed("ab")
            $0.fixed(length: 257, distance: 2)
        }
        #expect(codec.failure(page, count: 5)?.code == .malformed)
    }

    @Test(arguments: [0, 1, 4, 6, 100])
    func moreOrFewerBytesThanAskedFor(_ count: Int) {
        let page = fixed { $0.fixed("abcde") }
        #expect(codec.failure(page, count: count)?.code == .sizeMismatch)
    }

    @Test func aMatchBeyondTheEnd() {
        let page = fixed {
            $0.fixed("ab")
            $0.fixed(length: 285, extra: 0xFFFF, 16, distance: 0)
        }
        #expect(codec.failure(page, count: 65_536)?.code == .sizeMismatch)
        #expect(codec.failure(page, count: 3)?.code == .sizeMismatch)
    }

    @Test(arguments: [286, 287])
    func symbolsThatMeanNothing(_ symbol: Int) {
        #expect(codec.failure(fixed { $0.fixed(symbol) }, count: 3)?.code == .malformed)
    }

    @Test func theReservedBlockType() {
        var script = PageScript()
        script.begin(.reserved)
        #expect(codec.failure(script.page, count: 1)?.code == .malformed)
    }

    @Test func aStoredBlockBeyondTheEnd() {
        var script = PageScript()
        script.stored([1, 2, 3])
        #expect(codec.failure(script.page, count: 2)?.code == .sizeMismatch)
    }

    @Test func bytesBehindTheLastBlock() {
        let page = fixed { $0.fixed("abcde") } + [0, 0, 0, 0]
        #expect(codec.failure(page, count: 5)?.code == .malformed)
    }

    @Test(arguments: [0, 1, 4, 127])
    func lessThanAWordForEachLane(_ count: Int) {
        let error = codec.failure([UInt8](repeating: 0, count: count), count: 1)
        #expect(error?.code == .truncated)
        #expect(error?.offset == count / 4 * 4)
    }

    @Test func moreThanAPageHolds() {
        #expect(codec.failure([0], count: 65_537)?.code == .notSupported)
    }

    /// The code lengths' code, then codes in it.
    static let badTables: [(String, [UInt64], [(bits: UInt64, count: Int)])] = [
        ("oversubscribed code lengths", [1, 1, 1, 1], []),
        ("undersubscribed code lengths", [2, 2, 0, 0], []),
        ("a repeat of nothing", [1, 0, 0, 1], [(1, 3)]),
        ("a run beyond the last", [0, 0, 1, 1], [(1 | 127 << 1, 8), (1 | 127 << 1, 8), (1 | 127 << 1, 8)]),
        ("no end of block", [0, 0, 1, 1], [(1 | 127 << 1, 8), (1 | 109 << 1, 8)]),
        ("an unused code for a code length", [0, 0, 0, 1], [(1, 1)]),
    ]

    @Test(arguments: badTables.indices)
    func tablesThatMakeNoCode(_ index: Int) {
        let (name, lengths, codes) = Self.badTables[index]
        var script = PageScript()
        script.dynamic(symbols: 257, distances: 1, codeLengths: lengths, codes: codes)
        for _ in 0..<400 { script.step(0, 30) }
        #expect(codec.failure(script.page, count: 10)?.code == .malformed, "\(name)")
    }

    /// A page with all that a block can have, and its size.
    private func smallPage(_ level: Int) throws -> (page: [UInt8], count: Int) {
        var random = seededOnce("small page")
        let bytes = Sample.text.bytes(700, &random) + Sample.noise.bytes(20, &random)
        return (try GDeflate(level: level, framing: .page).encoded(bytes), bytes.count)
    }

    @Test(arguments: [0, 1, 6, 12])
    func everyTruncationFails(_ level: Int) throws {
        let (page, count) = try smallPage(level)
        for length in 0..<page.count {
            for side in GuardedBytes.Side.allCases {
                let error = codec.failure(Array(page.prefix(length)), count: count, side: side)
                #expect(error?.code == .truncated, "\(length) of \(page.count)")
            }
        }
    }

    @Test(arguments: [0, 1, 6])
    func everyFlippedBitFailsOrGivesTheSizeAskedFor(_ level: Int) throws {
        let (page, count) = try smallPage(level)
        for bit in 0..<(8 * page.count) {
            var damaged = page
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            if let error = codec.failure(damaged, count: count) {
                #expect((0...page.count).contains(error.offset ?? -1), "bit \(bit): \(error)")
            }
        }
    }

    @Test func noiseFailsOrGivesTheSizeAskedFor() {
        forEachSeed("noise pages", count: 300) { random in
            var page = Sample.noise.bytes(random.below(3000), &random)
            // As a dynamic block more often than not.
            if !page.isEmpty, random.chance(70) { page[0] = page[0] & ~7 | 5 }
            let count = random.below(65_537)
            if let error = codec.failure(page, count: count, side: random.chance(50) ? .front : .back) {
                #expect((0...page.count).contains(error.offset ?? -1), "seed \(random.seed): \(error)")
            }
        }
    }

    @Test func damagedPagesFailOrGiveTheSizeAskedFor() throws {
        let pages = try Sample.allCases.map { sample in
            var random = SeededRandom(5)
            return try GDeflate(level: 6, framing: .page).encoded(sample.bytes(8000, &random))
        }
        forEachSeed("damaged pages", count: 120) { random in
            var page = pages[random.below(pages.count)]
            for _ in 0...random.below(8) { page[random.below(page.count)] = UInt8(random.below(256)) }
            _ = codec.failure(page, count: random.chance(80) ? 8000 : random.below(9000))
        }
    }
}

import PenstockCompression
import TestSupport
import Testing

/// Pages written by hand, symbol by symbol, and what they must decode to.
@Suite struct WrittenPages {
    private let codec = GDeflate(framing: .page)

    private func expect(
        _ script: PageScript, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        for side in GuardedBytes.Side.allCases {
            let decoded = try codec.decoded(script.page, count: bytes.count, side: side)
            #expect(decoded == bytes, sourceLocation: sourceLocation)
        }
    }

    @Test func storedBytesGoRoundTheLanes() throws {
        var script = PageScript()
        script.stored((0..<100).map { UInt8($0) })
        try expect(script, (0..<100).map { UInt8($0) })
    }

    @Test func literalsOfTheFixedCode() throws {
        var script = PageScript()
        script.begin(.fixed)
        for byte in 0..<256 { script.fixed(byte) }
        script.endFixed()
        try expect(script, (0..<256).map { UInt8($0) })
    }

    @Test func aMatchIsCopiedAfterTheLiteralsBehindItWereRead() throws {
        var script = PageScript()
        script.begin(.fixed)
        script.fixed("abcd")
        script.fixed(length: 258, distance: 3)  // 4 bytes from 4 back
        script.fixed("xyz")
        script.endFixed()
        try expect(script, Array("abcdabcdxyz".utf8))
    }

    @Test func matchesOfMatchesAcrossRounds() throws {
        var script = PageScript()
        script.begin(.fixed)
        script.fixed("ab")
        var expected = Array("ab".utf8)
        for index in 0..<100 {
            script.fixed(length: 257, distance: 1)  // 3 bytes from 2 back
            script.fixed(index)
            expected += [expected[expected.count - 2], expected[expected.count - 1], expected[expected.count - 2]]
            expected.append(UInt8(index))
        }
        script.endFixed()
        try expect(script, expected)
    }

    @Test(arguments: [0, 1, 2, 255, 65_532])
    func theLongestLengthsHaveSixteenExtraBits(_ extra: Int) throws {
        var script = PageScript()
        script.begin(.fixed)
        script.fixed("q")
        script.fixed(length: 285, extra: UInt64(extra), 16, distance: 0)
        script.endFixed()
        try expect(script, [UInt8](repeating: UInt8(ascii: "q"), count: 1 + 3 + extra))
    }

    @Test(arguments: [(30, 0), (30, 0x3FFF), (31, 0), (31, 16_380)])
    func theFarthestDistancesHaveFourteenExtraBits(_ symbol: Int, _ extra: Int) throws {
        let distance = (symbol == 30 ? 32_769 : 49_153) + extra
        let head = (0..<distance).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 8) }
        var script = PageScript()
        script.stored(head, isFinal: false)
        script.begin(.fixed)
        script.fixed(length: 257, distance: symbol, distanceExtra: UInt64(extra), 14)
        script.endFixed()
        guard distance <= 65_533 else {
            #expect(codec.failure(script.page, count: 65_536)?.code == .sizeMismatch)
            return
        }
        try expect(script, head + head.prefix(3))
    }

    @Test func aDynamicBlockOfOneLiteralAndNoDistance() throws {
        // Lengths: 97 zeros, a 1 for "a", 158 zeros, a 1 for the end, a 0 for the distance.
        var script = PageScript()
        // The code lengths 0 and 1 have codes of 2 bits, 18 one of 1 bit: 18 is 0, 0 is 10, 1 is 11.
        script.dynamic(
            symbols: 257, distances: 1, codeLengths: [0, 0, 1, 2] + [UInt64](repeating: 0, count: 13) + [2],
            codes: [
                (0 | (97 - 11) << 1, 8), (0b11, 2), (0 | (138 - 11) << 1, 8), (0 | (20 - 11) << 1, 8), (0b11, 2),
                (0b01, 2),
            ])
        for _ in 0..<1000 { script.step(0, 1) }
        script.end(1, 1)
        try expect(script, [UInt8](repeating: UInt8(ascii: "a"), count: 1000))
    }

    @Test func emptyBlocksAddNothing() throws {
        var script = PageScript()
        for _ in 0..<50 {
            script.begin(.fixed, isFinal: false)
            script.endFixed()
            script.stored([], isFinal: false)
        }
        script.stored([7])
        try expect(script, [7])
    }

    @Test func aPageOfNoBytesMayBeThereOrNot() throws {
        var script = PageScript()
        script.stored([])
        try expect(script, [])
        #expect(try codec.decoded([], count: 0) == [])
    }
}

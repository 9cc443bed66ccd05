import TestSupport
import Testing

@testable import PenstockCompression

@Suite struct HuffmanCodeTests {
    @Test func codewordsAreCanonical() {
        forEachSeed("codewords", count: 50) { random in
            let code = HuffmanCode.allocate(symbolCount: 286)
            defer { code.deallocate() }
            let frequencies = (0..<286).map { _ in UInt32(random.below(1 << random.below(16))) }
            CodeLengthBuilder().assign(code.lengths, for: frequencies, count: 286, limit: 15)
            code.assignCodewords()
            // In order of length and of symbol, each codeword is the number after the one before.
            var expected = 0
            var lengthBefore = 0
            for length in 1...15 {
                for symbol in 0..<286 where Int(code.lengths[symbol]) == length {
                    expected <<= length - lengthBefore
                    lengthBefore = length
                    #expect(Int(code.entries[symbol] & 0xFF) == length)
                    let reversed = (0..<length).reduce(0) { bits, bit in
                        bits | (expected >> bit & 1) << (length - 1 - bit)
                    }
                    #expect(Int(code.entries[symbol] >> 8) == reversed, "seed \(random.seed)")
                    expected += 1
                }
            }
        }
    }
}

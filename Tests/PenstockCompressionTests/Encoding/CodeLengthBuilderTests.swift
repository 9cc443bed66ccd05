import TestSupport
import Testing

@testable import PenstockCompression

@Suite struct CodeLengthBuilderTests {
    private static func lengths(_ frequencies: [UInt32], limit: Int) -> [UInt8] {
        var lengths = [UInt8](repeating: 0xFF, count: frequencies.count)
        CodeLengthBuilder().assign(&lengths, for: frequencies, count: frequencies.count, limit: limit)
        return lengths
    }

    private static func cost(_ frequencies: [UInt32], _ lengths: [UInt8]) -> Int {
        zip(frequencies, lengths).reduce(0) { $0 + Int($1.0) * Int($1.1) }
    }

    /// The share of all codewords that these lengths take, in parts of 2 to the 15th.
    private static func share(_ lengths: [UInt8]) -> Int {
        lengths.reduce(0) { $0 + ($1 == 0 ? 0 : 1 << (15 - Int($1))) }
    }

    @Test func everyCodeIsCompleteAndWithinItsLimit() {
        forEachSeed("lengths", count: 300) { random in
            let (count, limit) = random.chance(50) ? (286, 15) : (19, 7)
            let isSteep = random.chance(50)
            let frequencies = (0..<count).map { _ in
                let frequency: UInt32 = isSteep ? 1 << UInt32(random.below(17)) : UInt32(random.below(300))
                return random.chance(30) ? 0 : frequency
            }
            let used = frequencies.count { $0 > 0 }
            guard used > 1 else { return }
            let lengths = Self.lengths(frequencies, limit: limit)
            #expect(Self.share(lengths) == 1 << 15, "seed \(random.seed)")
            for (frequency, length) in zip(frequencies, lengths) {
                #expect((frequency > 0) == (length > 0) && length <= limit, "seed \(random.seed)")
            }
        }
    }

    @Test func oneSymbolGetsACompanion() {
        #expect(Self.lengths([0, 0, 0], limit: 7) == [0, 0, 0])
        #expect(Self.lengths([0, 5, 0], limit: 7) == [1, 1, 0])
        #expect(Self.lengths([5, 0, 0], limit: 7) == [1, 1, 0])
    }

    @Test func noOtherLengthsCostLess() {
        forEachSeed("optimum", count: 60) { random in
            let limit = 3 + random.below(2)
            let frequencies = (0..<6).map { _ in 1 + UInt32(1) << UInt32(random.below(12)) }
            let lengths = Self.lengths(frequencies, limit: limit)
            var least = Int.max
            var candidate = [UInt8](repeating: 1, count: 6)
            // Every choice of lengths that leaves room for all codewords.
            search: while true {
                if Self.share(candidate) <= 1 << 15 { least = min(least, Self.cost(frequencies, candidate)) }
                var digit = 0
                while candidate[digit] == limit {
                    candidate[digit] = 1
                    digit += 1
                    if digit == 6 { break search }
                }
                candidate[digit] += 1
            }
            #expect(Self.cost(frequencies, lengths) == least, "limit \(limit), \(frequencies), seed \(random.seed)")
        }
    }

    @Test func fibonacciFrequenciesStayWithinTheLimit() {
        var frequencies: [UInt32] = [1, 1]
        while frequencies.count < 22 { frequencies.append(frequencies.suffix(2).reduce(0, +)) }
        let lengths = Self.lengths(frequencies, limit: 15)
        #expect(lengths.max() == 15)
        #expect(Self.share(lengths) == 1 << 15)
    }
}

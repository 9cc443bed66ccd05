/// What each symbol of a block is expected to take, in 1/32 bit.
struct SymbolCosts {
    private static let shift = Logarithms.fraction - 5
    private static let bit = 32

    /// Costs stand this far above the step that they are of, so that the cheaper of two ways is the lesser number.
    static let position: UInt64 = 32

    /// By byte.
    let literals: UnsafeMutablePointer<UInt64>
    /// By length, with extra bits: 0 to 258, and one more for all that are longer.
    let lengths: UnsafeMutablePointer<UInt64>
    /// By symbol, with extra bits.
    let distances: UnsafeMutablePointer<UInt64>

    static let longLength = Alphabet.longestShortLength + 1

    static func allocate() -> SymbolCosts {
        SymbolCosts(
            literals: .allocate(capacity: 256), lengths: .allocate(capacity: longLength + 1),
            distances: .allocate(capacity: Alphabet.distanceCount))
    }

    func deallocate() {
        literals.deallocate()
        lengths.deallocate()
        distances.deallocate()
    }

    /// Expects what was found in a block before.
    func update(_ histogram: Histogram, _ logarithms: Logarithms) {
        let symbols = Self.total(histogram.counts, Histogram.firstDistance)
        for byte in 0..<256 { literals[byte] = Self.cost(histogram.counts[byte], of: symbols, logarithms) }
        for length in Alphabet.shortestMatch...Self.longLength {
            let index = Alphabet.lengthIndex(length)
            let cost = Self.cost(histogram.counts[Alphabet.firstLength + index], of: symbols, logarithms)
            lengths[length] = cost + Self.bits(Alphabet.lengthExtraBits(index))
        }
        let matches = Self.total(histogram.distances, Alphabet.distanceCount)
        for symbol in 0..<Alphabet.distanceCount {
            let cost = Self.cost(histogram.distances[symbol], of: matches, logarithms)
            distances[symbol] = cost + Self.bits(Alphabet.distanceExtraBits(symbol))
        }
    }

    private static func total(_ counts: UnsafePointer<UInt32>, _ count: Int) -> Int {
        var total = 0
        for index in 0..<count { total &+= Int(counts[index]) }
        return total
    }

    private static func bits(_ count: Int) -> UInt64 { UInt64(count * bit) << position }

    private static func cost(_ frequency: UInt32, of total: Int, _ logarithms: Logarithms) -> UInt64 {
        // A symbol that did not occur counts as if it had once, and a little more: the header would have to tell its length.
        let bits =
            frequency > 0
            ? (logarithms[total] - logarithms[Int(frequency)]) >> shift : logarithms[total] >> shift + 3 * bit
        return UInt64(min(max(bits, bit), 15 * bit)) << position
    }
}

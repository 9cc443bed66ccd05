// A match is a length symbol and a distance symbol, each with extra bits that are added to the least it stands for.
extension Alphabet {
    static let shortestMatch = 3
    /// The last length symbol stands for every length from 3, with 16 extra bits. Up to 258 another one is cheaper.
    static let longLengthIndex = 28
    static let longestShortLength = 258

    // MARK: Lengths; their symbols are counted from `firstLength`

    @inline(__always)
    static func lengthIndex(_ length: Int) -> Int {
        guard length <= longestShortLength else { return longLengthIndex }
        let value = length &- shortestMatch
        guard value >= 8 else { return value }
        let top = 63 &- value.leadingZeroBitCount
        return 4 &* (top &- 1) &+ ((value &>> (top &- 2)) & 3)
    }

    @inline(__always)
    static func lengthExtraBits(_ index: Int) -> Int {
        if index == longLengthIndex { return 16 }
        return index < 8 ? 0 : index &>> 2 &- 1
    }

    /// The shortest length of a symbol.
    static func shortestLength(_ index: Int) -> Int {
        if index == longLengthIndex { return shortestMatch }
        return index < 8 ? shortestMatch + index : shortestMatch + (4 + index % 4) << lengthExtraBits(index)
    }

    // MARK: Distances

    @inline(__always)
    static func distanceSymbol(_ distance: Int) -> Int {
        let value = distance &- 1
        guard value >= 2 else { return value }
        let top = 63 &- value.leadingZeroBitCount
        return 2 &* top &+ ((value &>> (top &- 1)) & 1)
    }

    @inline(__always)
    static func distanceExtraBits(_ symbol: Int) -> Int { symbol < 4 ? 0 : symbol &>> 1 &- 1 }

    /// The least distance of a symbol.
    static func leastDistance(_ symbol: Int) -> Int {
        symbol < 2 ? 1 + symbol : 1 + (2 + symbol % 2) << distanceExtraBits(symbol)
    }
}

/// DEFLATE64's symbols, which GDeflate has taken over.
enum Alphabet {
    static let symbolCount = 288
    static let distanceCount = 32
    static let codeLengthCount = 19
    static let endOfBlock = 256
    static let longestCode = 15

    /// The order in which the code lengths' own lengths come, the likeliest first.
    static let codeLengthOrder: [UInt8] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

    /// The shortest match of each of the symbols 257...285, and how many bits are added to it.
    static let lengths: [(base: UInt32, extraBits: UInt32)] = (0..<29).map { index in
        if index < 8 { return (UInt32(3 + index), 0) }
        if index == 28 { return (3, 16) }
        let extraBits = UInt32(index / 4 - 1)
        return (UInt32(4 + index % 4) << extraBits + 3, extraBits)
    }

    /// The same of the distances' symbols.
    static let distances: [(base: UInt32, extraBits: UInt32)] = (0..<distanceCount).map { index in
        if index < 2 { return (UInt32(1 + index), 0) }
        let extraBits = UInt32(index / 2 - 1)
        return (UInt32(2 + index % 2) << extraBits + 1, extraBits)
    }
}

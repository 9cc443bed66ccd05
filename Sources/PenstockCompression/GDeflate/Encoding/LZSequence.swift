/// Some literals of the source, and the match after them.
struct LZSequence {
    var literals: UInt16
    /// 0: no match follows.
    var length: UInt16
    var distance: UInt16
    /// The match's length symbol, counted from ``Alphabet/firstLength``, and above it the distance symbol.
    var symbols: UInt16

    @inline(__always) var lengthIndex: Int { Int(symbols & 0xFF) }
    @inline(__always) var distanceSymbol: Int { Int(symbols &>> 8) }
}

/// Where a parser puts what it finds, in the order of the source.
struct SequenceWriter {
    /// A longer run of literals is cut, so that a block can end inside it.
    static let longestRun = 512
    /// Room for a page of matches of the shortest length, with long runs of literals, and for the ends of blocks.
    static let capacity = GDeflateEncoder.pageSize / Alphabet.shortestMatch + 256

    private let sequences: UnsafeMutablePointer<LZSequence>
    private(set) var count = 0

    /// - Parameter sequences: Room for ``capacity`` of them.
    init(_ sequences: UnsafeMutablePointer<LZSequence>) { self.sequences = sequences }

    @inline(__always)
    mutating func append(literals: Int, length: Int, distance: Int) {
        let rest = literals > Self.longestRun ? cut(literals) : literals
        let symbols = Alphabet.lengthIndex(length) | Alphabet.distanceSymbol(distance) &<< 8
        sequences[count] = LZSequence(
            literals: UInt16(truncatingIfNeeded: rest), length: UInt16(truncatingIfNeeded: length),
            distance: UInt16(truncatingIfNeeded: distance), symbols: UInt16(truncatingIfNeeded: symbols))
        count &+= 1
    }

    /// Literals that no match follows.
    mutating func append(literals: Int) {
        let rest = cut(literals)
        guard rest > 0 else { return }
        appendRun(rest)
    }

    private mutating func cut(_ literals: Int) -> Int {
        var rest = literals
        while rest > Self.longestRun {
            appendRun(Self.longestRun)
            rest -= Self.longestRun
        }
        return rest
    }

    private mutating func appendRun(_ literals: Int) {
        sequences[count] = LZSequence(literals: UInt16(literals), length: 0, distance: 0, symbols: 0)
        count += 1
    }
}

/// How often each symbol occurs in a stretch of the page: literals and lengths, then distances.
struct Histogram {
    static let firstDistance = Alphabet.symbolCount
    static let count = firstDistance + Alphabet.distanceCount

    /// Room for ``count`` numbers.
    let counts: UnsafeMutablePointer<UInt32>

    var distances: UnsafeMutablePointer<UInt32> { counts + Self.firstDistance }

    func clear() { counts.update(repeating: 0, count: Self.count) }

    func add(_ other: Histogram) {
        for index in 0..<Self.count { counts[index] &+= other.counts[index] }
    }

    /// Counts a sequence whose literals start at `literals`.
    @inline(__always)
    func count(_ sequence: LZSequence, literals: UnsafePointer<UInt8>) {
        for index in 0..<Int(sequence.literals) { counts[Int(literals[index])] &+= 1 }
        guard sequence.length > 0 else { return }
        counts[Alphabet.firstLength &+ sequence.lengthIndex] &+= 1
        distances[sequence.distanceSymbol] &+= 1
    }

    /// The bits that the symbols take besides their codewords.
    var extraBits: Int {
        var bits = 0
        for index in 0...Alphabet.longLengthIndex {
            bits &+= Int(counts[Alphabet.firstLength &+ index]) &* Alphabet.lengthExtraBits(index)
        }
        for symbol in 0..<Alphabet.distanceCount {
            bits &+= Int(distances[symbol]) &* Alphabet.distanceExtraBits(symbol)
        }
        return bits
    }
}

/// Takes every match that it sees, out of the last two places where the same four bytes were: for level 1.
final class FastParser {
    private static let hashBits: UInt32 = 14
    private static let bucketSize = 2
    /// The longer nothing has matched, the fewer positions are tried: a step more for so many literals, as a shift.
    private static let skipShift = 7

    private let buckets = UnsafeMutablePointer<UInt16>.allocate(capacity: bucketSize << Int(hashBits))

    deinit { buckets.deallocate() }

    /// Divides the page into literals and matches.
    /// - Returns: The number of sequences.
    func parse(_ window: PageWindow, into sequences: UnsafeMutablePointer<LZSequence>) -> Int {
        var writer = SequenceWriter(sequences)
        let buckets = buckets
        // An empty place reads as position 0, which is compared like any other.
        buckets.update(repeating: 0, count: Self.bucketSize << Int(Self.hashBits))
        let end = window.count &- 4
        var position = 1
        var literals = 0
        while position <= end {
            let word = window.word(position)
            let bucket = buckets + Self.bucketSize &* PageWindow.hash4(word, bits: Self.hashBits)
            let first = Int(bucket[0])
            let second = Int(bucket[1])
            bucket[1] = bucket[0]
            bucket[0] = UInt16(truncatingIfNeeded: position)
            let limit = window.count &- position
            var length = 0
            var candidate = 0
            if window.word(first) == word {
                length = window.equalBytes(position, first, known: 4, limit: limit)
                candidate = first
            }
            if window.word(second) == word {
                let other = window.equalBytes(position, second, known: 4, limit: limit)
                if other > length {
                    length = other
                    candidate = second
                }
            }
            guard length > 0 else {
                position &+= 1 &+ (position &- literals) &>> Self.skipShift
                continue
            }
            writer.append(literals: position &- literals, length: length, distance: position &- candidate)
            let next = position &+ length
            position = max(position &+ 1, next &- Match.remembered)
            let last = min(next, end)
            while position < last {
                let bucket = buckets + Self.bucketSize &* PageWindow.hash4(window.word(position), bits: Self.hashBits)
                bucket[1] = bucket[0]
                bucket[0] = UInt16(truncatingIfNeeded: position)
                position &+= 1
            }
            position = next
            literals = next
        }
        writer.append(literals: window.count - literals)
        return writer.count
    }
}

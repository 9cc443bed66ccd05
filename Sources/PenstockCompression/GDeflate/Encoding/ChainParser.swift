/// Looks for matches along chains of earlier positions with the same hash, and before it takes one, whether the next
/// position has a better one.
final class ChainParser {
    struct Effort {
        /// How many earlier positions are looked at.
        var depth: Int
        /// A match so long is taken at once.
        var niceLength: Int
        /// How many positions further on a better match is looked for: 0 to 2.
        var lookahead: Int
    }

    /// A match of three bytes from further away takes more bits than its literals; who takes the first that comes has to
    /// be choosier.
    private static let farthestShort = 4096
    private static let farthestShortWithoutLookahead = 1024
    /// The longer nothing has matched, the fewer positions are tried: a step more for so many literals, as a shift.
    private static let skipShift = 8

    private let effort: Effort
    private let finder: HashChains

    init(_ effort: Effort) {
        self.effort = effort
        finder = HashChains(
            niceLength: effort.niceLength,
            farthestShort: effort.lookahead > 0 ? Self.farthestShort : Self.farthestShortWithoutLookahead)
    }

    /// Divides the page into literals and matches.
    /// - Returns: The number of sequences.
    func parse(_ window: PageWindow, into sequences: UnsafeMutablePointer<LZSequence>) -> Int {
        var writer = SequenceWriter(sequences)
        finder.clear()
        if window.count >= 4 { finder.skip(window, 0) }
        // The last position with four bytes to hash.
        let end = window.count &- 4
        let effort = effort
        var position = 1
        var literals = 0
        while position <= end {
            var match = find(window, position, longerThan: 0, depth: effort.depth)
            position &+= 1
            guard match.length > 0 else {
                position &+= (position &- literals) &>> Self.skipShift
                continue
            }
            var start = position &- 1
            while effort.lookahead > 0, match.length < effort.niceLength, position <= end {
                let next = find(window, position, longerThan: match.length &- 1, depth: effort.depth &>> 1)
                position &+= 1
                if next.length > 0, next.score > match.score &+ 2 {
                    match = next
                    start = position &- 1
                    continue
                }
                guard effort.lookahead > 1, position <= end else { break }
                let second = find(window, position, longerThan: match.length &- 1, depth: effort.depth &>> 2)
                position &+= 1
                guard second.length > 0, second.score > match.score &+ 6 else { break }
                match = second
                start = position &- 1
            }
            writer.append(literals: start &- literals, length: match.length, distance: match.distance)
            literals = start &+ match.length
            let last = min(literals, end)
            position = max(position, literals &- Match.remembered)
            while position < last {
                finder.skip(window, position)
                position &+= 1
            }
            position = literals
        }
        writer.append(literals: window.count - literals)
        return writer.count
    }

    /// The longest match at a position that is longer than the given length.
    @inline(__always)
    private func find(_ window: PageWindow, _ position: Int, longerThan length: Int, depth: Int) -> Match {
        var match = Match()
        finder.find(window, position, longerThan: length, effort: depth) { length, distance in
            match = Match(length: length, distance: distance)
        }
        return match
    }
}

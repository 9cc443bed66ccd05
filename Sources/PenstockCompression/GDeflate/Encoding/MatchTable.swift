/// The matches of every position of a page.
final class MatchTable {
    /// Room for matches: where a page has more of them, some are left out.
    private static let capacity = 6 * GDeflateEncoder.pageSize
    /// Inside a match so long, only longer ones are looked for, and less thoroughly.
    private static let longMatch = 16

    struct Found {
        var length: UInt16
        var distance: UInt16
    }

    /// All matches, those of a position in ascending order of length.
    let found = UnsafeMutablePointer<Found>.allocate(capacity: capacity)
    /// Where each position's matches begin; they end where the next one's begin.
    let firstFound = UnsafeMutablePointer<UInt32>.allocate(capacity: GDeflateEncoder.pageSize + 2)

    deinit {
        found.deallocate()
        firstFound.deallocate()
    }

    /// The longest match of a position.
    func longest(_ position: Int) -> Match {
        guard firstFound[position] < firstFound[position + 1] else { return Match() }
        let match = found[Int(firstFound[position + 1]) - 1]
        return Match(length: Int(match.length), distance: Int(match.distance))
    }

    /// Finds the matches of a page.
    /// - Parameter niceLength: Inside a match so long no other is looked for.
    func fill(_ window: PageWindow, from finder: some MatchFinder, effort: Int, niceLength: Int) {
        finder.clear()
        var count = 0
        let found = found
        let firstFound = firstFound
        // The last position with four bytes to look at.
        let end = window.count &- 4
        firstFound[0] = 0
        if end >= 0 { finder.skip(window, 0) }
        var position = 1
        // What is left of the last position's longest match.
        var rest = Match()

        @inline(__always)
        func append(_ length: Int, _ distance: Int) {
            guard count < Self.capacity else { return }
            found[count] = Found(
                length: UInt16(truncatingIfNeeded: length), distance: UInt16(truncatingIfNeeded: distance))
            count &+= 1
            rest = Match(length: length, distance: distance)
        }

        while position <= end {
            firstFound[position] = UInt32(truncatingIfNeeded: count)
            rest.length &-= 1
            if rest.length >= Self.longMatch {
                append(rest.length, rest.distance)
                finder.find(window, position, longerThan: rest.length, effort: effort &>> 1, append)
            } else {
                rest = Match()
                finder.find(window, position, longerThan: 0, effort: effort, append)
            }
            position &+= 1
            guard rest.length >= niceLength else { continue }
            let last = min(position &- 1 &+ rest.length, end)
            while position < last {
                firstFound[position] = UInt32(truncatingIfNeeded: count)
                finder.skip(window, position)
                rest.length &-= 1
                if rest.length >= Alphabet.shortestMatch { append(rest.length, rest.distance) }
                position &+= 1
            }
            rest = Match()
        }
        while position <= window.count &+ 1 {
            firstFound[position] = UInt32(truncatingIfNeeded: count)
            position &+= 1
        }
    }
}

/// Keeps earlier positions with the same hash of four bytes in chains, the nearest first.
final class HashChains: MatchFinder {
    private static let hashBits: UInt32 = 15

    private let niceLength: Int
    private let farthestShort: Int
    private let short = ShortMatches.allocate()
    /// The last position of each hash.
    private let heads = UnsafeMutablePointer<UInt16>.allocate(capacity: 1 << Int(hashBits))
    /// For each position, the one before it with the same hash. A chain ends at position 0, which empty heads name too:
    /// it is compared like any other.
    private let chains = UnsafeMutablePointer<UInt16>.allocate(capacity: GDeflateEncoder.pageSize)

    /// - Parameters:
    ///   - niceLength: A match so long ends the search.
    ///   - farthestShort: Matches of three bytes are not wanted from further away.
    init(niceLength: Int, farthestShort: Int) {
        self.niceLength = niceLength
        self.farthestShort = farthestShort
    }

    deinit {
        short.deallocate()
        heads.deallocate()
        chains.deallocate()
    }

    func clear() {
        short.clear()
        heads.update(repeating: 0, count: 1 << Int(Self.hashBits))
        chains[0] = 0
    }

    @inline(__always)
    func skip(_ window: PageWindow, _ position: Int) {
        let word = window.word(position)
        _ = short.insert(window, position, word)
        _ = push(position, word)
    }

    /// - Returns: The position that was the nearest with the same hash.
    @inline(__always)
    private func push(_ position: Int, _ word: UInt32) -> Int {
        let head = heads + PageWindow.hash4(word, bits: Self.hashBits)
        let candidate = head.pointee
        chains[position] = candidate
        head.pointee = UInt16(truncatingIfNeeded: position)
        return Int(candidate)
    }

    @inline(__always)
    func find(
        _ window: PageWindow, _ position: Int, longerThan length: Int, effort: Int, _ found: (Int, Int) -> Void
    ) {
        let word = window.word(position)
        let shortDistance = short.insert(window, position, word)
        var candidate = push(position, word)
        let limit = window.count &- position
        var best = max(length, 3)
        guard best < limit else { return }
        if length < 3, shortDistance &- 1 < farthestShort, shortDistance > 0 { found(3, shortDistance) }
        let nice = min(niceLength, limit)
        // A candidate that is to be longer has to be equal here as well: most are not, and cost one look.
        var tail = window.word(position &+ best &- 3)
        var left = effort
        repeat {
            if window.word(candidate &+ best &- 3) == tail, window.word(candidate) == word {
                let equal = window.equalBytes(position, candidate, known: 4, limit: limit)
                if equal > best {
                    best = equal
                    found(equal, position &- candidate)
                    if equal >= nice { break }
                    tail = window.word(position &+ best &- 3)
                }
            }
            let next = Int(chains[candidate])
            guard next < candidate else { break }
            candidate = next
            left &-= 1
        } while left > 0
    }
}

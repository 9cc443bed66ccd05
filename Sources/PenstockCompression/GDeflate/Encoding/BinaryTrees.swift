/// Keeps earlier positions with the same hash of four bytes in a binary tree, in the order of the bytes that follow them,
/// so that a few looks lead to the longest match. Adding a position takes as long as finding its matches.
final class BinaryTrees: MatchFinder {
    private static let hashBits: UInt32 = 15

    private let effort: Int
    private let niceLength: Int
    private let farthestShort: Int
    private let short = ShortMatches.allocate()
    // Node numbers are positions plus one; 0: none.
    private let heads = UnsafeMutablePointer<UInt16>.allocate(capacity: 1 << Int(hashBits))
    /// Two for each node: the smaller one, then the larger one.
    private let children = UnsafeMutablePointer<UInt16>.allocate(capacity: 2 * GDeflateEncoder.pageSize)

    /// - Parameters:
    ///   - effort: How many positions a skipped one is compared with.
    ///   - niceLength: Bytes beyond these do not count for the order, and a match so long ends the search.
    ///   - farthestShort: Matches of three bytes are not wanted from further away.
    init(effort: Int, niceLength: Int, farthestShort: Int) {
        self.effort = effort
        self.niceLength = niceLength
        self.farthestShort = farthestShort
    }

    deinit {
        short.deallocate()
        heads.deallocate()
        children.deallocate()
    }

    func clear() {
        short.clear()
        heads.update(repeating: 0, count: 1 << Int(Self.hashBits))
    }

    @inline(__always)
    func skip(_ window: PageWindow, _ position: Int) {
        let word = window.word(position)
        _ = short.insert(window, position, word)
        insert(window, position, word, longerThan: Int.max, effort: effort) { _, _ in }
    }

    @inline(__always)
    func find(
        _ window: PageWindow, _ position: Int, longerThan length: Int, effort: Int, _ found: (Int, Int) -> Void
    ) {
        let word = window.word(position)
        let shortDistance = short.insert(window, position, word)
        if length < 3, shortDistance &- 1 < farthestShort, shortDistance > 0 { found(3, shortDistance) }
        insert(window, position, word, longerThan: max(length, 3), effort: effort, found)
    }

    @inline(__always)
    private func insert(
        _ window: PageWindow, _ position: Int, _ word: UInt32, longerThan length: Int, effort: Int,
        _ found: (Int, Int) -> Void
    ) {
        let head = heads + PageWindow.hash4(word, bits: Self.hashBits)
        let number = position &+ 1
        var node = Int(head.pointee)
        head.pointee = UInt16(truncatingIfNeeded: number)
        let limit = min(niceLength, window.count &- position)
        var best = length
        // Where the next smaller and the next larger node go, and how many bytes these are known to have in common with
        // the position.
        var smaller = children + 2 &* number
        var larger = smaller + 1
        var smallerLength = 0
        var largerLength = 0
        var left = effort
        while node != 0, left > 0 {
            let candidate = node &- 1
            let pair = children + 2 &* node
            let equal = window.equalBytes(position, candidate, known: min(smallerLength, largerLength), limit: limit)
            if equal >= limit {
                if equal >= best {
                    let whole = window.equalBytes(position, candidate, known: equal, limit: window.count &- position)
                    if whole > best { found(whole, position &- candidate) }
                }
                // Takes the place of the other one, whose bytes are the same as far as anyone looks.
                smaller.pointee = pair[0]
                larger.pointee = pair[1]
                return
            }
            if equal > best {
                best = equal
                found(equal, position &- candidate)
            }
            if window.bytes[candidate &+ equal] < window.bytes[position &+ equal] {
                smaller.pointee = UInt16(truncatingIfNeeded: node)
                smaller = pair + 1
                node = Int(pair[1])
                smallerLength = equal
            } else {
                larger.pointee = UInt16(truncatingIfNeeded: node)
                larger = pair
                node = Int(pair[0])
                largerLength = equal
            }
            left &-= 1
        }
        smaller.pointee = 0
        larger.pointee = 0
    }
}

/// Finds the cheapest way through a page, given what each symbol costs; the costs come from the way found before.
final class OptimalParser {
    struct Effort {
        /// Whether the finder is ``BinaryTrees``, which takes longer and finds more than ``HashChains``.
        var usesTrees: Bool
        /// How many earlier positions are looked at.
        var depth: Int
        /// Inside a match so long no other is looked for, and only the whole of it is tried.
        var niceLength: Int
        /// How many lengths are tried that are shorter than a match is: most often the whole is best.
        var shorterLengths: Int
        /// How often the way is found.
        var passes: Int
        /// The blocks that have costs of their own start with so many bytes.
        var granularity: Int
    }

    /// A match of three bytes from further away hardly ever pays.
    private static let farthestShort = 16384

    private let effort: Effort
    private let trees: BinaryTrees?
    private let chains: HashChains?
    private let table = MatchTable()
    private let splitter: BlockSplitter
    private let logarithms = Logarithms()
    private let costs = SymbolCosts.allocate()
    /// The cheapest way from each position to the end of its block: what it takes, and below that its first step, which is
    /// the length of a match, or 1 for a literal, above the distance.
    private let ways = UnsafeMutablePointer<UInt64>.allocate(capacity: GDeflateEncoder.pageSize + 1)

    init(_ effort: Effort, splitter: BlockSplitter) {
        self.effort = effort
        self.splitter = splitter
        let niceLength = effort.niceLength
        trees =
            effort.usesTrees
            ? BinaryTrees(effort: effort.depth, niceLength: niceLength, farthestShort: Self.farthestShort) : nil
        chains = effort.usesTrees ? nil : HashChains(niceLength: niceLength, farthestShort: Self.farthestShort)
    }

    deinit {
        costs.deallocate()
        ways.deallocate()
    }

    /// Divides the page into literals and matches.
    /// - Returns: The number of sequences.
    func parse(_ window: PageWindow, into sequences: UnsafeMutablePointer<LZSequence>) -> Int {
        if let trees {
            table.fill(window, from: trees, effort: effort.depth, niceLength: effort.niceLength)
        } else if let chains {
            table.fill(window, from: chains, effort: effort.depth, niceLength: effort.niceLength)
        }
        var count = parseLongest(window, into: sequences)
        for _ in 0..<effort.passes {
            let blockCount = splitter.split(
                sequences, count: count, source: window.bytes, granularity: effort.granularity)
            var writer = SequenceWriter(sequences)
            for index in 0..<blockCount {
                let block = splitter.blocks[index]
                costs.update(block.histogram, logarithms)
                findWay(window, from: block.start, to: block.start + block.size)
                write(from: block.start, to: block.start + block.size, to: &writer)
            }
            count = writer.count
        }
        return count
    }

    /// The way to begin with: the longest match of each position, unless the next position's is better.
    private func parseLongest(_ window: PageWindow, into sequences: UnsafeMutablePointer<LZSequence>) -> Int {
        var writer = SequenceWriter(sequences)
        var position = 0
        var literals = 0
        while position < window.count {
            let match = table.longest(position)
            guard match.length > 3 || match.length == 3 && match.distance < 4096,
                match.score + 2 >= table.longest(position + 1).score
            else {
                position += 1
                continue
            }
            writer.append(literals: position - literals, length: match.length, distance: match.distance)
            position += match.length
            literals = position
        }
        writer.append(literals: window.count - literals)
        return writer.count
    }

    private func findWay(_ window: PageWindow, from start: Int, to end: Int) {
        let costs = costs
        let ways = ways
        let found = table.found
        let firstFound = table.firstFound
        let niceLength = effort.niceLength
        let shorterLengths = effort.shorterLengths
        ways[end] = 0
        var position = end
        while position > start {
            position &-= 1
            let cost = costs.literals[Int(window.bytes[position])]
            var best = (ways[position &+ 1] & Self.costMask) &+ cost &+ Self.step(length: 1, distance: 0)
            // Lengths up to this one have a nearer match.
            var covered = Alphabet.shortestMatch &- 1
            var index = Int(firstFound[position])
            let last = Int(firstFound[position &+ 1])
            while index < last {
                let match = found[index]
                index &+= 1
                let distance = Int(match.distance)
                let cost = costs.distances[Alphabet.distanceSymbol(distance)]
                let longest = min(Int(match.length), end &- position)
                let short = min(longest, Alphabet.longestShortLength)
                if longest > short {
                    let step = cost &+ Self.step(length: longest, distance: distance)
                    let long = costs.lengths[SymbolCosts.longLength] &+ step
                    best = min(best, (ways[position &+ longest] & Self.costMask) &+ long)
                }
                var length = max(covered &+ 1, short &- shorterLengths)
                // Of a long match only the whole: there are many of those, and many lengths of each.
                if longest >= niceLength { length = short }
                while length <= short {
                    let step = cost &+ Self.step(length: length, distance: distance)
                    best = min(best, (ways[position &+ length] & Self.costMask) &+ costs.lengths[length] &+ step)
                    length &+= 1
                }
                covered = short
            }
            ways[position] = best
        }
    }

    private static let costMask = UInt64.max << SymbolCosts.position

    @inline(__always)
    private static func step(length: Int, distance: Int) -> UInt64 {
        UInt64(truncatingIfNeeded: length &<< 16 | distance)
    }

    private func write(from start: Int, to end: Int, to writer: inout SequenceWriter) {
        var position = start
        var literals = start
        while position < end {
            let step = ways[position]
            let length = Int(step >> 16 & 0xFFFF)
            if length > 1 {
                writer.append(literals: position - literals, length: length, distance: Int(step & 0xFFFF))
                literals = position + length
            }
            position += length
        }
        writer.append(literals: end - literals)
    }
}

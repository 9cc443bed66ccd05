/// Divides a page into blocks: starts with many of the same size, and joins neighbours as long as codes of their own
/// would not pay for their headers.
final class BlockSplitter {
    private static let mostBlocks = 64
    /// What a header takes besides its lengths, and for each symbol that occurs: figures from real pages.
    ///
    /// The former is 200 more than it is. A block's own code fits its few symbols by chance, too, so that the entropy
    /// flatters small blocks; and each block costs a decoder new tables.
    private static let headerBits = 320
    private static let headerBitsPerSymbol = 3

    let blocks = UnsafeMutablePointer<Block>.allocate(capacity: mostBlocks)
    private let histograms = UnsafeMutablePointer<UInt32>.allocate(capacity: (mostBlocks + 1) * Histogram.count)
    private let costs = UnsafeMutablePointer<Int>.allocate(capacity: mostBlocks)
    /// What joining each block with the next one saves.
    private let savings = UnsafeMutablePointer<Int>.allocate(capacity: mostBlocks)
    private let logarithms = Logarithms()
    private let joined: Histogram

    init() {
        joined = Histogram(counts: histograms + Self.mostBlocks * Histogram.count)
    }

    deinit {
        blocks.deallocate()
        histograms.deallocate()
        costs.deallocate()
        savings.deallocate()
    }

    /// Divides the page into ``blocks``, with their histograms.
    /// - Parameter granularity: The size of the blocks it starts with, in bytes: at least 1/64 of a page.
    /// - Returns: Their number.
    func split(
        _ sequences: UnsafePointer<LZSequence>, count: Int, source: UnsafePointer<UInt8>, granularity: Int
    ) -> Int {
        var blockCount = cut(sequences, count: count, source: source, granularity: granularity)
        guard blockCount > 1 else { return blockCount }
        for block in 0..<blockCount { costs[block] = cost(blocks[block].histogram) }
        for block in 0..<blockCount - 1 { savings[block] = saving(block) }
        while blockCount > 1 {
            var best = 0
            for block in 1..<blockCount - 1 where savings[block] > savings[best] { best = block }
            guard savings[best] > 0 else { break }
            join(best, blockCount)
            blockCount -= 1
            if best > 0 { savings[best - 1] = saving(best - 1) }
            if best < blockCount - 1 { savings[best] = saving(best) }
        }
        return blockCount
    }

    private func cut(
        _ sequences: UnsafePointer<LZSequence>, count: Int, source: UnsafePointer<UInt8>, granularity: Int
    ) -> Int {
        var blockCount = 0
        var position = 0
        var index = 0
        while index < count {
            let histogram = Histogram(counts: histograms + blockCount * Histogram.count)
            histogram.clear()
            let first = index
            let start = position
            let limit = blockCount == Self.mostBlocks - 1 ? Int.max : position + granularity
            while index < count, position < limit {
                let sequence = sequences[index]
                histogram.count(sequence, literals: source + position)
                position &+= Int(sequence.literals) &+ Int(sequence.length)
                index &+= 1
            }
            blocks[blockCount] = Block(
                first: first, end: index, start: start, size: position - start, histogram: histogram)
            blockCount += 1
        }
        return blockCount
    }

    private func join(_ block: Int, _ blockCount: Int) {
        let next = blocks[block + 1]
        blocks[block].histogram.add(next.histogram)
        blocks[block].end = next.end
        blocks[block].size += next.size
        costs[block] += costs[block + 1] - savings[block]
        let rest = blockCount - block - 2
        (blocks + block + 1).update(from: blocks + block + 2, count: rest)
        (costs + block + 1).update(from: costs + block + 2, count: rest)
        if rest > 0 { (savings + block + 1).update(from: savings + block + 2, count: rest - 1) }
    }

    private func saving(_ block: Int) -> Int {
        joined.counts.update(from: blocks[block].histogram.counts, count: Histogram.count)
        joined.add(blocks[block + 1].histogram)
        return costs[block] + costs[block + 1] - cost(joined)
    }

    /// The size of a block with these symbols, in the unit of the logarithms: the entropy and a guess of the header. Extra
    /// bits are left out, because no splitting changes them.
    private func cost(_ histogram: Histogram) -> Int {
        let literals = entropy(histogram.counts, Histogram.firstDistance)
        let distances = entropy(histogram.distances, Alphabet.distanceCount)
        let header = Self.headerBits + Self.headerBitsPerSymbol * (literals.symbols + distances.symbols)
        return literals.bits + distances.bits + header << Logarithms.fraction
    }

    @inline(__always)
    private func entropy(_ counts: UnsafePointer<UInt32>, _ count: Int) -> (bits: Int, symbols: Int) {
        var total = 0
        var sum = 0
        var symbols = 0
        for index in 0..<count {
            let frequency = Int(counts[index])
            guard frequency > 0 else { continue }
            total &+= frequency
            symbols &+= 1
            sum &+= frequency &* logarithms[frequency]
        }
        return (total &* logarithms[total] &- sum, symbols)
    }
}

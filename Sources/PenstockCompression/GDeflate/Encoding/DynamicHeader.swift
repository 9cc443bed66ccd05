/// The part of a dynamic block that tells its two codes: their lengths, with runs shortened, in a code of their own.
final class DynamicHeader {
    private struct Item {
        var symbol: UInt8
        /// What the extra bits say: how much longer than the shortest run.
        var extra: UInt8
    }

    private let lengths = UnsafeMutablePointer<UInt8>.allocate(
        capacity: Alphabet.usedSymbolCount + Alphabet.distanceCount)
    private let items = UnsafeMutablePointer<Item>.allocate(
        capacity: Alphabet.usedSymbolCount + Alphabet.distanceCount)
    private let frequencies = UnsafeMutablePointer<UInt32>.allocate(capacity: Alphabet.codeLengthCount)
    private let code = HuffmanCode.allocate(symbolCount: Alphabet.codeLengthCount)
    private var itemCount = 0
    private var literalLengthCount = 0
    private var distanceCount = 0
    private var orderCount = 0

    deinit {
        lengths.deallocate()
        items.deallocate()
        frequencies.deallocate()
        code.deallocate()
    }

    /// Prepares the header of a block with these codes.
    /// - Returns: Its size in bits, without the block's first three.
    func build(literals: HuffmanCode, distances: HuffmanCode, builder: CodeLengthBuilder) -> Int {
        literalLengthCount = Self.trimmed(literals.lengths, Alphabet.usedSymbolCount, atLeast: Alphabet.firstLength)
        distanceCount = Self.trimmed(distances.lengths, Alphabet.distanceCount, atLeast: 1)
        lengths.update(from: literals.lengths, count: literalLengthCount)
        (lengths + literalLengthCount).update(from: distances.lengths, count: distanceCount)
        shortenRuns(literalLengthCount + distanceCount)
        builder.assign(
            code.lengths, for: frequencies, count: Alphabet.codeLengthCount, limit: Alphabet.longestCodeLengthCode)
        code.assignCodewords()
        orderCount = Alphabet.codeLengthCount
        while orderCount > 4, code.lengths[Int(Alphabet.codeLengthOrder[orderCount - 1])] == 0 { orderCount -= 1 }
        let extraBits = 2 * frequencies[16] + 3 * frequencies[17] + 7 * frequencies[18]
        return 14 + 3 * orderCount + code.cost(frequencies) + Int(extraBits)
    }

    private static func trimmed(_ lengths: UnsafeMutablePointer<UInt8>, _ count: Int, atLeast: Int) -> Int {
        var count = count
        while count > atLeast, lengths[count - 1] == 0 { count -= 1 }
        return count
    }

    private func shortenRuns(_ count: Int) {
        frequencies.update(repeating: 0, count: Alphabet.codeLengthCount)
        itemCount = 0
        var index = 0
        while index < count {
            let length = lengths[index]
            var end = index &+ 1
            while end < count, lengths[end] == length { end &+= 1 }
            var run = end &- index
            index = end
            if length == 0 {
                while run >= 11 {
                    let part = min(run, 138)
                    append(Alphabet.manyZeros, extra: part &- 11)
                    run &-= part
                }
                if run >= 3 {
                    append(Alphabet.fewZeros, extra: run &- 3)
                    run = 0
                }
            } else if run >= 4 {
                append(length, extra: 0)
                run &-= 1
                while run >= 3 {
                    let part = min(run, 6)
                    append(Alphabet.repeatPrevious, extra: part &- 3)
                    run &-= part
                }
            }
            for _ in 0..<run { append(length, extra: 0) }
        }
    }

    @inline(__always)
    private func append(_ symbol: UInt8, extra: Int) {
        items[itemCount] = Item(symbol: symbol, extra: UInt8(truncatingIfNeeded: extra))
        itemCount &+= 1
        frequencies[Int(symbol)] &+= 1
    }

    /// Puts what was built: the counts on lane 0, everything after them round the lanes from lane 0.
    func write(to writer: inout LaneWriter) {
        let counts = (literalLengthCount - Alphabet.firstLength) | (distanceCount - 1) << 5 | (orderCount - 4) << 10
        writer.put(UInt64(counts), count: 14, lane: 0)
        for index in 0..<orderCount {
            writer.put(UInt64(code.lengths[Int(Alphabet.codeLengthOrder[index])]), count: 3, lane: index)
        }
        for index in 0..<itemCount {
            let item = items[index]
            let entry = code.entries[Int(item.symbol)]
            let length = entry & 0xFF
            let extraBits: UInt32 =
                switch item.symbol {
                case Alphabet.repeatPrevious: 2
                case Alphabet.fewZeros: 3
                case Alphabet.manyZeros: 7
                default: 0
                }
            writer.put(
                UInt64(entry >> 8) | UInt64(item.extra) << UInt64(length), count: length + extraBits,
                lane: index % LaneWriter.laneCount)
        }
    }
}

/// The part of a dynamic block that tells its two codes: their lengths, with runs shortened, in a code of their own.
final class DynamicHeader {
    private static let codeLengthLimit = 7
    private static let symbolCount = 19
    private static let repeatPrevious: UInt8 = 16
    private static let fewZeros: UInt8 = 17
    private static let manyZeros: UInt8 = 18
    /// The order in which the format lists the lengths of the third code, so that the rare ones can be left out.
    private static let order: [UInt8] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

    private struct Item {
        var symbol: UInt8
        /// What the extra bits say: how much longer than the shortest run.
        var extra: UInt8
    }

    private let lengths = UnsafeMutablePointer<UInt8>.allocate(
        capacity: MatchSymbols.literalLengthCount + MatchSymbols.distanceCount)
    private let items = UnsafeMutablePointer<Item>.allocate(
        capacity: MatchSymbols.literalLengthCount + MatchSymbols.distanceCount)
    private let frequencies = UnsafeMutablePointer<UInt32>.allocate(capacity: symbolCount)
    private let code = HuffmanCode.allocate(symbolCount: symbolCount)
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
        literalLengthCount = Self.trimmed(literals.lengths, MatchSymbols.literalLengthCount, atLeast: 257)
        distanceCount = Self.trimmed(distances.lengths, MatchSymbols.distanceCount, atLeast: 1)
        lengths.update(from: literals.lengths, count: literalLengthCount)
        (lengths + literalLengthCount).update(from: distances.lengths, count: distanceCount)
        shortenRuns(literalLengthCount + distanceCount)
        builder.assign(code.lengths, for: frequencies, count: Self.symbolCount, limit: Self.codeLengthLimit)
        code.assignCodewords()
        orderCount = Self.symbolCount
        while orderCount > 4, code.lengths[Int(Self.order[orderCount - 1])] == 0 { orderCount -= 1 }
        let extraBits = 2 * frequencies[16] + 3 * frequencies[17] + 7 * frequencies[18]
        return 14 + 3 * orderCount + code.cost(frequencies) + Int(extraBits)
    }

    private static func trimmed(_ lengths: UnsafeMutablePointer<UInt8>, _ count: Int, atLeast: Int) -> Int {
        var count = count
        while count > atLeast, lengths[count - 1] == 0 { count -= 1 }
        return count
    }

    private func shortenRuns(_ count: Int) {
        frequencies.update(repeating: 0, count: Self.symbolCount)
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
                    append(Self.manyZeros, extra: part &- 11)
                    run &-= part
                }
                if run >= 3 {
                    append(Self.fewZeros, extra: run &- 3)
                    run = 0
                }
            } else if run >= 4 {
                append(length, extra: 0)
                run &-= 1
                while run >= 3 {
                    let part = min(run, 6)
                    append(Self.repeatPrevious, extra: part &- 3)
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
        let counts = (literalLengthCount - 257) | (distanceCount - 1) << 5 | (orderCount - 4) << 10
        writer.put(UInt64(counts), count: 14, lane: 0)
        for index in 0..<orderCount {
            writer.put(UInt64(code.lengths[Int(Self.order[index])]), count: 3, lane: index)
        }
        for index in 0..<itemCount {
            let item = items[index]
            let entry = code.entries[Int(item.symbol)]
            let length = entry & 0xFF
            let extraBits: UInt32 =
                switch item.symbol {
                case Self.repeatPrevious: 2
                case Self.fewZeros: 3
                case Self.manyZeros: 7
                default: 0
                }
            writer.put(
                UInt64(entry >> 8) | UInt64(item.extra) << UInt64(length), count: length + extraBits,
                lane: index % LaneWriter.laneCount)
        }
    }
}

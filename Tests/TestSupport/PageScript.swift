/// Writes a page step by step, right or wrong: what each lane is to read, in the order in which the lanes take turns.
package struct PageScript {
    private var steps: [(lane: Int, bits: UInt64, count: Int)] = []
    private var lane = 0
    /// What the lanes that have begun a match have still to read.
    private var pending: [Int: (bits: UInt64, count: Int)] = [:]

    package init() {}

    package enum Block: UInt64 { case stored, fixed, dynamic, reserved }

    /// What the lane reads, lowest bit first.
    private mutating func read(_ bits: UInt64, _ count: Int, at lane: Int) { steps.append((lane, bits, count)) }

    package mutating func begin(_ block: Block, isFinal: Bool = true) {
        lane = 0
        read((isFinal ? 1 : 0) | block.rawValue << 1, 3, at: 0)
    }

    package mutating func stored(_ bytes: [UInt8], isFinal: Bool = true) {
        begin(.stored, isFinal: isFinal)
        read(UInt64(bytes.count), 16, at: 0)
        for (index, byte) in bytes.enumerated() { read(UInt64(byte), 8, at: index % 32) }
    }

    /// The next lane that has no distance to read takes a turn; those before it read theirs.
    package mutating func step(_ bits: UInt64, _ count: Int) {
        while let distance = pending.removeValue(forKey: lane) {
            read(distance.bits, distance.count, at: lane)
            lane = (lane + 1) % 32
        }
        read(bits, count, at: lane)
        lane = (lane + 1) % 32
    }

    /// The same, with a distance that the lane reads in its next turn.
    package mutating func step(_ bits: UInt64, _ count: Int, thenDistance distance: UInt64, _ distanceCount: Int) {
        step(bits, count)
        pending[(lane + 31) % 32] = (distance, distanceCount)
    }

    /// The block's end: the lanes that have still a distance to read do so once round.
    package mutating func end(_ bits: UInt64, _ count: Int) {
        step(bits, count)
        for _ in 0..<31 {
            if let distance = pending.removeValue(forKey: lane) { read(distance.bits, distance.count, at: lane) }
            lane = (lane + 1) % 32
        }
    }

    /// A code of the fixed block, first bit lowest.
    private static func reversed(_ code: UInt64, _ count: Int) -> UInt64 {
        (0..<count).reduce(0) { $0 | (code >> UInt64($1) & 1) << UInt64(count - 1 - $1) }
    }

    package static func fixed(symbol: Int) -> (bits: UInt64, count: Int) {
        switch symbol {
        case 0..<144: (reversed(UInt64(0x30 + symbol), 8), 8)
        case 144..<256: (reversed(UInt64(0x190 + symbol - 144), 9), 9)
        case 256..<280: (reversed(UInt64(symbol - 256), 7), 7)
        default: (reversed(UInt64(0xC0 + symbol - 280), 8), 8)
        }
    }

    package mutating func fixed(_ symbol: Int) {
        let code = Self.fixed(symbol: symbol)
        step(code.bits, code.count)
    }

    package mutating func fixed(_ text: String) { for byte in text.utf8 { fixed(Int(byte)) } }

    /// A match by its symbols and their extra bits.
    package mutating func fixed(
        length: Int, extra: UInt64 = 0, _ extraCount: Int = 0, distance: Int, distanceExtra: UInt64 = 0,
        _ distanceExtraCount: Int = 0
    ) {
        let code = Self.fixed(symbol: length)
        let distanceCode = Self.reversed(UInt64(distance), 5)
        step(
            code.bits | extra << UInt64(code.count), code.count + extraCount,
            thenDistance: distanceCode | distanceExtra << 5, 5 + distanceExtraCount)
    }

    package mutating func endFixed() {
        let code = Self.fixed(symbol: 256)
        end(code.bits, code.count)
    }

    /// The head of a dynamic block: 5 bits, 5 bits and 4 bits, the code lengths' own lengths, and then their codes.
    package mutating func dynamic(
        symbols: Int, distances: Int, codeLengths: [UInt64], codes: [(bits: UInt64, count: Int)]
    ) {
        begin(.dynamic)
        let counts = UInt64(symbols - 257) | UInt64(distances - 1) << 5 | UInt64(codeLengths.count - 4) << 10
        read(counts, 14, at: 0)
        for (index, length) in codeLengths.enumerated() { read(length, 3, at: index) }
        for (index, code) in codes.enumerated() { read(code.bits, code.count, at: index % 32) }
    }

    /// The page: each lane's bits in words, in the order in which the lanes ask for them.
    package var page: [UInt8] {
        var queues = [[(bits: UInt64, count: Int)]](repeating: [], count: 32)
        for step in steps { queues[step.lane].append((step.bits, step.count)) }
        let words = queues.map { queue in
            var words: [UInt32] = []
            var bits: UInt64 = 0
            var count = 0
            for item in queue {
                bits |= item.bits << UInt64(count)
                count += item.count
                if count >= 32 {
                    words.append(UInt32(truncatingIfNeeded: bits))
                    bits >>= 32
                    count -= 32
                }
            }
            return words + [UInt32(truncatingIfNeeded: bits)]
        }
        var taken = [Int](repeating: 0, count: 32)
        var available = [Int](repeating: 0, count: 32)
        var page: [UInt8] = []
        func refill(_ lane: Int) {
            guard available[lane] < 32 else { return }
            let word = taken[lane] < words[lane].count ? words[lane][taken[lane]] : 0
            taken[lane] += 1
            available[lane] += 32
            withUnsafeBytes(of: word.littleEndian) { page.append(contentsOf: $0) }
        }
        for lane in 0..<32 { refill(lane) }
        for step in steps {
            available[step.lane] -= step.count
            refill(step.lane)
        }
        return page
    }
}

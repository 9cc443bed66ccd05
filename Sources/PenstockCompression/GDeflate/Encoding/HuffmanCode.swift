/// A canonical Huffman code: for each symbol a codeword, ready to be put.
struct HuffmanCode {
    let symbolCount: Int
    /// 0: the symbol has no codeword.
    let lengths: UnsafeMutablePointer<UInt8>
    /// The codeword, with its first bit lowest, as the format wants it, above eight bits with its length.
    let entries: UnsafeMutablePointer<UInt32>

    static func allocate(symbolCount: Int) -> HuffmanCode {
        let code = HuffmanCode(
            symbolCount: symbolCount, lengths: .allocate(capacity: symbolCount),
            entries: .allocate(capacity: symbolCount))
        code.lengths.initialize(repeating: 0, count: symbolCount)
        code.entries.initialize(repeating: 0, count: symbolCount)
        return code
    }

    func deallocate() {
        lengths.deallocate()
        entries.deallocate()
    }

    /// Derives the codewords from the lengths: in order of length, and of symbol within a length.
    func assignCodewords() {
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 16) { next in
            next.update(repeating: 0)
            for symbol in 0..<symbolCount { next[Int(lengths[symbol])] &+= 1 }
            var code: UInt32 = 0
            var shorter: UInt32 = 0
            for length in 1..<16 {
                code = (code &+ shorter) &<< 1
                shorter = next[length]
                next[length] = code
            }
            for symbol in 0..<symbolCount {
                let length = UInt32(lengths[symbol])
                guard length > 0 else {
                    entries[symbol] = 0
                    continue
                }
                entries[symbol] = Self.reversed(next[Int(length)], length) &<< 8 | length
                next[Int(length)] &+= 1
            }
        }
    }

    /// The bits that so many symbols take, without their extra bits.
    func cost(_ frequencies: UnsafePointer<UInt32>) -> Int {
        var bits: UInt64 = 0
        for symbol in 0..<symbolCount { bits &+= UInt64(frequencies[symbol]) &* UInt64(lengths[symbol]) }
        return Int(bits)
    }

    private static func reversed(_ codeword: UInt32, _ length: UInt32) -> UInt32 {
        var bits = codeword
        bits = (bits & 0x5555) &<< 1 | (bits &>> 1) & 0x5555
        bits = (bits & 0x3333) &<< 2 | (bits &>> 2) & 0x3333
        bits = (bits & 0x0F0F) &<< 4 | (bits &>> 4) & 0x0F0F
        bits = (bits & 0x00FF) &<< 8 | (bits &>> 8) & 0x00FF
        return bits &>> (16 &- length)
    }
}

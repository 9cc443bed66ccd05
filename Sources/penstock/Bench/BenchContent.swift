/// The bytes of the benchmark file: each aligned 8 of them follow from their offset alone, so that any block can be
/// verified wherever it was read from.
enum BenchContent {
    /// Fixed, so that a file made by one run can be used, and verified, by the next.
    private static let seed: UInt64 = 0x50_45_4E_53_54_4F_43_4B

    /// Fills `block` with what belongs at `offset`. Both multiples of 8.
    static func fill(_ block: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        let words = block.bindMemory(to: UInt64.self)
        let first = offset / 8
        for index in words.indices {
            words[index] = SplitMix64.value(seed: seed, at: first &+ UInt64(index)).littleEndian
        }
    }

    /// Whether `block` holds what belongs at `offset`. Call it outside the timed part.
    static func matches(_ block: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
        precondition(offset.isMultiple(of: 8) && block.count.isMultiple(of: 8), "content is made of 8-byte words")
        let first = offset / 8
        return (0..<block.count / 8).allSatisfy { index in
            let word = block.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
            return word == SplitMix64.value(seed: seed, at: first &+ UInt64(index)).littleEndian
        }
    }
}

/// Bytes of the kinds that take encoders and decoders down different ways.
package enum Sample: CaseIterable, Sendable {
    case equal, noise, periodic, sparse, text, records, runs, skewed, halves

    package static let sizes = [1, 2, 3, 4, 5, 31, 123, 65_535, 65_536]

    package func bytes(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
        switch self {
        case .equal: return [UInt8](repeating: UInt8(random.below(256)), count: count)
        case .noise: return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        case .periodic:
            let period = (0...random.below(300)).map { _ in UInt8(random.below(256)) }
            return (0..<count).map { period[$0 % period.count] }
        case .sparse: return (0..<count).map { _ in random.chance(2) ? UInt8(random.below(256)) : 0 }
        case .text:
            let words = (0..<200).map { _ in (0...random.below(9)).map { _ in UInt8(97 + random.below(26)) } + [32] }
            // The first words are the frequent ones.
            return filled(count) { $0 += words[min(random.below(200), random.below(200))] }
        case .records:
            var counter: UInt32 = 0
            return filled(count) {
                counter += UInt32(random.below(4))
                $0 += withUnsafeBytes(of: counter.littleEndian, Array.init) + [UInt8(random.below(3)), 0, 0xFF, 0x3F]
            }
        case .runs:
            return filled(count) {
                $0 += [UInt8](
                    repeating: UInt8(random.below(256)), count: 1 + random.below(random.chance(5) ? 9000 : 40))
            }
        case .skewed:
            // Each value half as frequent as the one before, so that codes come up against their limits.
            return (0..<count).map { _ in UInt8((random.next() | 1 << 40).trailingZeroBitCount) }
        case .halves:
            let first = Sample.text.bytes(count / 2, &random)
            return first + Sample.noise.bytes(count - first.count, &random)
        }
    }

    private func filled(_ count: Int, _ append: (inout [UInt8]) -> Void) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count { append(&bytes) }
        return Array(bytes.prefix(count))
    }
}

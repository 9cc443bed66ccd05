import TestSupport

/// Bytes of different kinds, for round trips.
enum Sample: CaseIterable, Sendable {
    case zeros, noise, text, records, runs, skewed

    func bytes(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
        switch self {
        case .zeros: return [UInt8](repeating: 0, count: count)
        case .noise: return (0..<count).map { _ in UInt8(random.below(256)) }
        case .text:
            let words = (0..<200).map { _ in (0..<(1 + random.below(9))).map { _ in UInt8(97 + random.below(26)) } }
            return filled(count) { $0 += words[random.below(200)] + [32] }
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
            // A code of very different lengths, so that the long ones need second tables.
            return (0..<count).map { _ in UInt8(truncatingIfNeeded: (random.next() | 1 << 32).trailingZeroBitCount * 7)
            }
        }
    }

    private func filled(_ count: Int, _ append: (inout [UInt8]) -> Void) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count { append(&bytes) }
        return Array(bytes.prefix(count))
    }
}

import TestSupport

/// Bytes of the kinds that take an encoder down different ways.
enum SamplePage: String, CaseIterable, Sendable {
    case equal, random, periodic, sparse, words, skewed, halves

    static let sizes = [1, 2, 3, 4, 5, 31, 123, 65535, 65536]

    func bytes(_ count: Int, using random: inout SeededRandom) -> [UInt8] {
        switch self {
        case .equal: return Array(repeating: UInt8(truncatingIfNeeded: random.next()), count: count)
        case .random: return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        case .periodic:
            let period = (0...random.below(300)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            return (0..<count).map { period[$0 % period.count] }
        case .sparse: return (0..<count).map { _ in random.chance(2) ? UInt8(truncatingIfNeeded: random.next()) : 0 }
        case .words:
            let words = (0..<200).map { _ in (0...random.below(9)).map { _ in UInt8(97 + random.below(26)) } + [32] }
            var bytes: [UInt8] = []
            while bytes.count < count { bytes += words[min(random.below(200), random.below(200))] }
            return Array(bytes.prefix(count))
        case .skewed:
            // Each value half as frequent as the one before, so that codes come up against their limits.
            return (0..<count).map { _ in UInt8((random.next() | 1 << 40).trailingZeroBitCount) }
        case .halves:
            let first = SamplePage.words.bytes(count / 2, using: &random)
            return first + SamplePage.random.bytes(count - first.count, using: &random)
        }
    }
}

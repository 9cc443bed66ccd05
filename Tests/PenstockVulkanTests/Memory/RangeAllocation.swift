import PenstockVulkan
import TestSupport
import Testing

/// Ranges never overlap, are aligned, and nothing is lost when they are given back.
@Suite struct RangeAllocation {
    @Test func randomRangesAreThoseOfAModelOfBytes() {
        forEachSeed("ranges", count: 100) { random in
            let size = 1 + random.below(300)
            var ranges = RangeAllocator(size: size)
            var isUsed = Array(repeating: false, count: size)
            var given: [Range<Int>] = []
            for _ in 0..<200 {
                if random.chance(60) {
                    let count = 1 + random.below(random.chance(20) ? size + 2 : 20)
                    let alignment = [1, 2, 4, 16, 64, 3, 1000, Int.max].randomElement(using: &random)!
                    let fitting = gaps(in: isUsed).filter { gap in
                        gap.contains { $0 % alignment == 0 && gap.upperBound - $0 >= count }
                    }
                    guard let range = ranges.allocate(count, alignment: alignment) else {
                        #expect(fitting.isEmpty, "seed \(random.seed): \(count) bytes at \(alignment) would fit")
                        continue
                    }
                    #expect(range.count == count && range.lowerBound % alignment == 0, "seed \(random.seed)")
                    #expect(range.upperBound <= size && !isUsed[range].contains(true), "seed \(random.seed): overlap")
                    let gap = gaps(in: isUsed).first { $0.contains(range.lowerBound) }
                    #expect(gap?.count == fitting.map(\.count).min(), "seed \(random.seed): not the best fit")
                    for byte in range { isUsed[byte] = true }
                    given.append(range)
                } else if !given.isEmpty {
                    let range = given.remove(at: random.below(given.count))
                    ranges.free(range)
                    for byte in range { isUsed[byte] = false }
                }
                #expect(ranges.usedBytes == isUsed.count { $0 } && ranges.isEmpty == given.isEmpty)
                #expect(ranges.largestFree == gaps(in: isUsed).map(\.count).max() ?? 0, "seed \(random.seed)")
            }
            for range in given.shuffled(using: &random) { ranges.free(range) }
            #expect(ranges.isEmpty && ranges.largestFree == size, "seed \(random.seed): not joined again")
        }
    }

    @Test func hugeBlocksAndAlignmentsDoNotOverflow() {
        var ranges = RangeAllocator(size: Int.max)
        #expect(ranges.allocate(1, alignment: Int.max) == 0..<1)
        #expect(ranges.allocate(1, alignment: Int.max) == nil)
        #expect(ranges.allocate(Int.max, alignment: 1) == nil)
        #expect(ranges.allocate(Int.max - 1, alignment: 1) == 1..<Int.max)
        #expect(ranges.largestFree == 0)
    }

    @Test func freeingTwiceStopsTheProgram() async {
        await #expect(processExitsWith: .failure) {
            var ranges = RangeAllocator(size: 100)
            let range = ranges.allocate(10, alignment: 1)!
            _ = ranges.allocate(10, alignment: 1)
            ranges.free(range)
            ranges.free(range)
        }
    }

    private func gaps(in isUsed: [Bool]) -> [Range<Int>] {
        var gaps: [Range<Int>] = []
        for (byte, used) in isUsed.enumerated() where !used {
            if let last = gaps.last, last.upperBound == byte {
                gaps[gaps.count - 1] = last.lowerBound..<byte + 1
            } else {
                gaps.append(byte..<byte + 1)
            }
        }
        return gaps
    }
}

/// Hands out ranges of a block of memory: the smallest free one in which a request fits, and there its lowest place.
///
/// Keeps the books only; the memory is somebody else's. Why best fit: large free ranges last longer, and a large image
/// finds a place. Why a sorted array: a block of 64 MiB holds hundreds of buffers and images, not thousands, and they
/// come and go when a level is loaded, not per frame.
package struct RangeAllocator: Sendable {
    /// Bytes of the whole block.
    package let size: Int
    /// Sorted; no two touch, and none is empty.
    private var gaps: [Range<Int>]
    /// Bytes that are handed out, without those lost to alignment, which stay free.
    package private(set) var usedBytes = 0

    package init(size: Int) {
        precondition(size > 0)
        self.size = size
        gaps = [0..<size]
    }

    package var isEmpty: Bool { usedBytes == 0 }

    /// Bytes of the largest free range.
    ///
    /// - Complexity: O(*free ranges*).
    package var largestFree: Int { gaps.lazy.map(\.count).max() ?? 0 }

    /// A free range of that many bytes, from a multiple of `alignment` on; nil if there is none.
    ///
    /// - Parameters:
    ///   - size: At least 1.
    ///   - alignment: At least 1; Vulkan's are powers of two, but this does not need it.
    /// - Complexity: O(*free ranges*).
    package mutating func allocate(_ size: Int, alignment: Int) -> Range<Int>? {
        precondition(size > 0 && alignment > 0)
        var best: (index: Int, start: Int)?
        for (index, gap) in gaps.enumerated() where gap.count >= size {
            if let best, gaps[best.index].count <= gap.count { continue }
            let past = gap.lowerBound % alignment
            let lost = past == 0 ? 0 : alignment - past
            // Both are below the gap's size, so nothing overflows, however large the alignment.
            guard lost <= gap.count - size else { continue }
            best = (index, gap.lowerBound + lost)
        }
        guard let best else { return nil }
        let range = best.start..<best.start + size
        take(range, from: best.index)
        usedBytes += size
        return range
    }

    /// Takes back a range that ``allocate(_:alignment:)`` gave out, and has not had back since.
    ///
    /// - Complexity: O(*free ranges*).
    package mutating func free(_ range: Range<Int>) {
        let next = indexOfGap(after: range.lowerBound)
        let before = next > 0 ? gaps[next - 1] : 0..<0
        let after = next < gaps.count ? gaps[next] : size..<size
        precondition(
            !range.isEmpty && before.upperBound <= range.lowerBound && range.upperBound <= after.lowerBound,
            "freed twice, or never given out")
        usedBytes -= range.count
        let joinsBefore = before.upperBound == range.lowerBound && !before.isEmpty
        let joinsAfter = range.upperBound == after.lowerBound && !after.isEmpty
        switch (joinsBefore, joinsAfter) {
        case (false, false): gaps.insert(range, at: next)
        case (true, false): gaps[next - 1] = before.lowerBound..<range.upperBound
        case (false, true): gaps[next] = range.lowerBound..<after.upperBound
        case (true, true):
            gaps[next - 1] = before.lowerBound..<after.upperBound
            gaps.remove(at: next)
        }
    }

    private mutating func take(_ range: Range<Int>, from index: Int) {
        let before = gaps[index].lowerBound..<range.lowerBound
        let after = range.upperBound..<gaps[index].upperBound
        switch (before.isEmpty, after.isEmpty) {
        case (true, true): gaps.remove(at: index)
        case (false, true): gaps[index] = before
        case (true, false): gaps[index] = after
        case (false, false):
            gaps[index] = before
            gaps.insert(after, at: index + 1)
        }
    }

    /// The first gap that begins after `offset`, or the number of gaps.
    private func indexOfGap(after offset: Int) -> Int {
        var (low, high) = (0, gaps.count)
        while low < high {
            let middle = (low + high) / 2
            if gaps[middle].lowerBound <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

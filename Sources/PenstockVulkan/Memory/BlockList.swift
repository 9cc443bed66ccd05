/// Decides which `VkDeviceMemory` each buffer and image gets, and when one is allocated and freed: requests in, actions
/// out. The caller makes the Vulkan calls, under the lock that guards this value.
///
/// Small resources share blocks of ``blockSize``, because drivers allow as few as 4096 allocations
/// (`maxMemoryAllocationCount`) and take long over each. Large ones have memory of their own.
package struct BlockList: Sendable {
    /// Resources that may lie next to one another. Images with optimal tiling keep `bufferImageGranularity` away from
    /// buffers and linear images; where that is more than 1, they simply get other blocks.
    package enum Tiling: Sendable, Hashable {
        case linear, optimal
    }

    /// Where a resource is.
    package struct Place: Sendable, Hashable {
        /// The number of a memory block; a number is used again after its block was released.
        package let block: Int
        /// Bytes in the block.
        package let range: Range<Int>
    }

    /// What has to be done for a request.
    package enum Action: Sendable, Hashable {
        /// Bind to the block that is there.
        case use(Place)
        /// Call `vkAllocateMemory` for that many bytes, file the memory under the place's block, and bind. If it fails:
        /// ``allocationFailed(_:)``.
        case create(Place, byteCount: Int)
    }

    /// Bytes of a shared block.
    package let blockSize: Int
    /// Bytes from which on a resource has a block of its own.
    package let dedicatedSize: Int
    private let sharesTilings: Bool
    private var blocks: [Block?] = []

    private struct Block: Sendable {
        let pool: Pool
        var ranges: RangeAllocator
        let isDedicated: Bool
    }

    private struct Pool: Sendable, Hashable {
        var memoryType: Int
        var tiling: Tiling
    }

    /// - Parameters:
    ///   - bufferImageGranularity: Of `VkPhysicalDeviceLimits`.
    ///   - dedicatedAbove: A resource larger than this has a block of its own.
    package init(bufferImageGranularity: Int, blockSize: Int = 64 << 20, dedicatedAbove: Int = 16 << 20) {
        precondition(dedicatedAbove >= 0 && dedicatedAbove <= blockSize)
        sharesTilings = bufferImageGranularity <= 1
        self.blockSize = blockSize
        dedicatedSize = dedicatedAbove + 1
    }

    /// A place for a resource, as `VkMemoryRequirements` describes it.
    ///
    /// - Parameters:
    ///   - size: Bytes, at least 1.
    ///   - memoryType: The chosen index into the device's memory types.
    ///   - dedicated: The driver asks for memory of its own (`VkMemoryDedicatedRequirements`).
    package mutating func allocate(
        _ size: Int, alignment: Int, memoryType: Int, tiling: Tiling, dedicated: Bool = false
    ) -> Action {
        let pool = Pool(memoryType: memoryType, tiling: sharesTilings ? .linear : tiling)
        if dedicated || size >= dedicatedSize { return create(pool, byteCount: size, for: size, isDedicated: true) }
        if let place = placeInBlock(of: pool, size, alignment: alignment) { return .use(place) }
        return create(pool, byteCount: blockSize, for: size, isDedicated: false)
    }

    /// Takes back the place of a resource that has been destroyed.
    ///
    /// - Returns: The number of a block to free with `vkFreeMemory`. Nil as long as others use it, and for the last empty
    ///   block of its kind, which is kept so that a resource that comes and goes costs no allocation each time.
    package mutating func free(_ place: Place) -> Int? {
        guard var block = blocks[place.block] else { preconditionFailure("freed after its block was released") }
        block.ranges.free(place.range)
        blocks[place.block] = block
        guard block.ranges.isEmpty else { return nil }
        if !block.isDedicated && !hasOtherEmptyBlock(than: place.block, in: block.pool) { return nil }
        blocks[place.block] = nil
        return place.block
    }

    /// `vkAllocateMemory` refused what ``Action/create(_:byteCount:)`` asked for.
    ///
    /// - Returns: What to try next: for a shared block, memory of the resource's own size. Nil if that was it.
    package mutating func allocationFailed(_ place: Place) -> Action? {
        guard let block = blocks[place.block] else { preconditionFailure("no such block") }
        precondition(block.ranges.usedBytes == place.range.count, "used before it was there")
        blocks[place.block] = nil
        if block.isDedicated { return nil }
        return create(block.pool, byteCount: place.range.count, for: place.range.count, isDedicated: true)
    }

    /// Lets go of the empty blocks that are kept: memory is short.
    ///
    /// - Returns: Numbers of the blocks to free.
    package mutating func releaseEmptyBlocks() -> [Int] {
        let empty = blocks.indices.filter { blocks[$0]?.ranges.isEmpty == true }
        for index in empty { blocks[index] = nil }
        return empty
    }

    /// The blocks that there are, for the end, when every one is freed.
    package var blockNumbers: [Int] { blocks.indices.filter { blocks[$0] != nil } }

    /// Bytes of all blocks of a memory type.
    package func reservedBytes(ofMemoryType memoryType: Int) -> Int {
        blocks.lazy.compactMap { $0 }.filter { $0.pool.memoryType == memoryType }.reduce(0) { $0 + $1.ranges.size }
    }

    /// The first block with room; an empty one only when no other has any, so that it can be released.
    private mutating func placeInBlock(of pool: Pool, _ size: Int, alignment: Int) -> Place? {
        for wantsEmpty in [false, true] {
            for index in blocks.indices {
                guard let block = blocks[index], block.pool == pool, !block.isDedicated,
                    block.ranges.isEmpty == wantsEmpty
                else { continue }
                if let range = blocks[index]!.ranges.allocate(size, alignment: alignment) {
                    return Place(block: index, range: range)
                }
            }
        }
        return nil
    }

    private mutating func create(_ pool: Pool, byteCount: Int, for size: Int, isDedicated: Bool) -> Action {
        var block = Block(pool: pool, ranges: RangeAllocator(size: byteCount), isDedicated: isDedicated)
        // The first in an empty block begins at 0, which is a multiple of anything.
        let range = block.ranges.allocate(size, alignment: 1)!
        let number = blocks.firstIndex { $0 == nil } ?? blocks.endIndex
        if number == blocks.endIndex { blocks.append(block) } else { blocks[number] = block }
        return .create(Place(block: number, range: range), byteCount: byteCount)
    }

    private func hasOtherEmptyBlock(than number: Int, in pool: Pool) -> Bool {
        blocks.indices.contains { index in
            guard index != number, let block = blocks[index] else { return false }
            return block.pool == pool && !block.isDedicated && block.ranges.isEmpty
        }
    }
}

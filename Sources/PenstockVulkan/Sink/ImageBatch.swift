import CVulkan

/// Copies between staging buffers and images that wait for the next submission, and the layout changes around them.
struct ImageBatch {
    private struct Group {
        var buffer: VkBuffer
        var image: VkImage
        var layout: VkImageLayout
        var regions: [VkBufferImageCopy2]
    }

    private var groups: [Group] = []
    private(set) var bytes = 0
    private(set) var count = 0

    var isEmpty: Bool { groups.isEmpty }

    mutating func add(
        _ transfer: ImageTransfer, _ layout: VkImageLayout, buffer: VkBuffer, offset: UInt64, start: Int, count: Int
    ) {
        if groups.last?.buffer != buffer || groups.last?.image != transfer.image || groups.last?.layout != layout {
            groups.append(Group(buffer: buffer, image: transfer.image, layout: layout, regions: []))
        }
        let last = groups.count - 1
        transfer.copy.regions(from: start, count: count, stagingOffset: Int(offset)) { region in
            groups[last].regions.append(region)
        }
        bytes += count
        self.count += 1
    }

    /// Records the copies, and forgets them.
    mutating func record(into buffer: VkCommandBuffer, intoDevice: Bool, _ functions: DeviceFunctions) {
        // A piece may be nothing but a gap.
        for group in groups where !group.regions.isEmpty {
            group.regions.withUnsafeBufferPointer { regions in
                if intoDevice {
                    var info = VkCopyBufferToImageInfo2()
                    info.sType = VK_STRUCTURE_TYPE_COPY_BUFFER_TO_IMAGE_INFO_2
                    info.srcBuffer = group.buffer
                    info.dstImage = group.image
                    info.dstImageLayout = group.layout
                    info.regionCount = UInt32(regions.count)
                    info.pRegions = regions.baseAddress
                    functions.cmdCopyBufferToImage2(buffer, &info)
                } else {
                    var info = VkCopyImageToBufferInfo2()
                    info.sType = VK_STRUCTURE_TYPE_COPY_IMAGE_TO_BUFFER_INFO_2
                    info.srcImage = group.image
                    info.srcImageLayout = group.layout
                    info.dstBuffer = group.buffer
                    info.regionCount = UInt32(regions.count)
                    info.pRegions = regions.baseAddress
                    functions.cmdCopyImageToBuffer2(buffer, &info)
                }
            }
        }
        groups.removeAll(keepingCapacity: true)
        bytes = 0
        count = 0
    }
}

/// The barriers around a submission's copies.
struct BarrierBatch {
    private var images: [VkImageMemoryBarrier2] = []
    private var buffers: [VkBufferMemoryBarrier2] = []

    var isEmpty: Bool { images.isEmpty && buffers.isEmpty }

    /// An image's change of layout, and of owner if the families differ.
    mutating func add(
        _ image: VkImage, _ ranges: [VkImageSubresourceRange], from old: VkImageLayout, to new: VkImageLayout,
        _ scopes: BarrierScopes, families: (UInt32, UInt32) = (VK_QUEUE_FAMILY_IGNORED, VK_QUEUE_FAMILY_IGNORED)
    ) {
        guard old != new || families.0 != families.1 else { return }
        for range in ranges {
            var barrier = VkImageMemoryBarrier2()
            barrier.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2
            barrier.srcStageMask = scopes.sourceStage
            barrier.srcAccessMask = scopes.sourceAccess
            barrier.dstStageMask = scopes.stage
            barrier.dstAccessMask = scopes.access
            barrier.oldLayout = old
            barrier.newLayout = new
            barrier.srcQueueFamilyIndex = families.0
            barrier.dstQueueFamilyIndex = families.1
            barrier.image = image
            barrier.subresourceRange = range
            images.append(barrier)
        }
    }

    /// A buffer's change of owner.
    mutating func release(
        _ buffer: VkBuffer, _ offset: UInt64, _ size: UInt64, _ scopes: BarrierScopes, families: (UInt32, UInt32)
    ) {
        var barrier = VkBufferMemoryBarrier2()
        barrier.sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER_2
        barrier.srcStageMask = scopes.sourceStage
        barrier.srcAccessMask = scopes.sourceAccess
        barrier.srcQueueFamilyIndex = families.0
        barrier.dstQueueFamilyIndex = families.1
        barrier.buffer = buffer
        barrier.offset = offset
        barrier.size = size
        buffers.append(barrier)
    }

    /// Records the barriers and a memory barrier of these scopes, and forgets them.
    mutating func record(into buffer: VkCommandBuffer, _ scopes: BarrierScopes, _ functions: DeviceFunctions) {
        var memory = VkMemoryBarrier2()
        memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2
        memory.srcStageMask = scopes.sourceStage
        memory.srcAccessMask = scopes.sourceAccess
        memory.dstStageMask = scopes.stage
        memory.dstAccessMask = scopes.access
        withUnsafePointer(to: &memory) { memory in
            images.withUnsafeBufferPointer { images in
                buffers.withUnsafeBufferPointer { buffers in
                    var info = VkDependencyInfo()
                    info.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO
                    info.memoryBarrierCount = 1
                    info.pMemoryBarriers = memory
                    info.imageMemoryBarrierCount = UInt32(images.count)
                    info.pImageMemoryBarriers = images.baseAddress
                    info.bufferMemoryBarrierCount = UInt32(buffers.count)
                    info.pBufferMemoryBarriers = buffers.baseAddress
                    functions.cmdPipelineBarrier2(buffer, &info)
                }
            }
        }
        images.removeAll(keepingCapacity: true)
        buffers.removeAll(keepingCapacity: true)
    }
}

/// What a barrier orders: everything in the source scopes comes before everything in the others.
struct BarrierScopes {
    var sourceStage: UInt64
    var sourceAccess: UInt64
    var stage: UInt64
    var access: UInt64

    private static let all = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT
    private static let copy = VK_PIPELINE_STAGE_2_COPY_BIT
    private static let copyAccess = VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT
    private static let anyAccess = VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT

    /// What came before on the queue, then the copies.
    static let before = BarrierScopes(
        sourceStage: all, sourceAccess: VK_ACCESS_2_MEMORY_WRITE_BIT, stage: copy, access: copyAccess)
    /// Copies, then other copies.
    static let between = BarrierScopes(
        sourceStage: copy, sourceAccess: VK_ACCESS_2_TRANSFER_WRITE_BIT, stage: copy, access: copyAccess)
    /// The copies, then what comes after on the queue.
    static let after = BarrierScopes(
        sourceStage: copy, sourceAccess: VK_ACCESS_2_TRANSFER_WRITE_BIT, stage: all, access: anyAccess)
    /// The copies, then another queue family's barrier of the same kind.
    static let release = BarrierScopes(
        sourceStage: copy, sourceAccess: VK_ACCESS_2_TRANSFER_WRITE_BIT, stage: 0, access: 0)
    /// The copies, then what comes after on the queue, and the host's reads.
    static let afterReadback = BarrierScopes(
        sourceStage: copy, sourceAccess: VK_ACCESS_2_TRANSFER_WRITE_BIT, stage: all | VK_PIPELINE_STAGE_2_HOST_BIT,
        access: anyAccess | VK_ACCESS_2_HOST_READ_BIT)
}

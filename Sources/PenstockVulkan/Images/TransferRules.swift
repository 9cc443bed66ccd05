import CVulkan

/// What the queue family that does the copying asks of them.
package struct TransferRules: Sendable, Hashable {
    /// `minImageTransferGranularity`, in texel blocks (texels, where the format is not compressed): offsets are multiples
    /// of it, and so are sizes that do not end at the mip level's edge. Nil if only whole levels can be copied.
    package let granularity: TexelExtent?
    /// Bytes of which each region's offset in the buffer is a multiple, besides those of a texel block: 4 on a queue with
    /// neither graphics nor compute (VUID-vkCmdCopyBufferToImage2-commandBuffer-07737), else 1.
    package let offsetMultiple: Int

    /// What every queue with graphics or compute allows.
    package static let graphics = TransferRules(granularity: TexelExtent(width: 1, height: 1), offsetMultiple: 1)

    /// - Parameter granularity: A zero stands for whole mip levels, as in Vulkan.
    package init(granularity: TexelExtent, offsetMultiple: Int = 4) {
        precondition(offsetMultiple > 0)
        let isUsable = ImageAxis.allCases.allSatisfy { granularity[$0] > 0 }
        self.granularity = isUsable ? granularity : nil
        self.offsetMultiple = offsetMultiple
    }

    /// The rules of a queue family, from `vkGetPhysicalDeviceQueueFamilyProperties`.
    package init(_ family: VkQueueFamilyProperties) {
        let granularity = family.minImageTransferGranularity
        let others = UInt32(VK_QUEUE_GRAPHICS_BIT.rawValue | VK_QUEUE_COMPUTE_BIT.rawValue)
        self.init(
            granularity: TexelExtent(
                width: Int(granularity.width), height: Int(granularity.height), depth: Int(granularity.depth)),
            offsetMultiple: family.queueFlags & others == 0 ? 4 : 1)
    }
}

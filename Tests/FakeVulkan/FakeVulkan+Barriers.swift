import CVulkan

struct RecordedBarrier {
    struct OnBuffer {
        let scope: BarrierScope
        let buffer: FakeBuffer
        let range: Range<UInt64>
        /// Nil unless it hands the range from one queue family to another.
        let transfer: Transfer?
    }

    struct OnImage {
        let scope: BarrierScope
        let image: FakeImage
        let subresources: [Int]
        let oldLayout: VkImageLayout
        let newLayout: VkImageLayout
        let transfer: Transfer?
    }

    struct Transfer {
        let from: UInt32
        let to: UInt32

        init?(_ from: UInt32, _ to: UInt32) {
            if from == to { return nil }
            (self.from, self.to) = (from, to)
        }
    }

    var memory: [BarrierScope] = []
    var buffers: [OnBuffer] = []
    var images: [OnImage] = []
}

extension FakeVulkan {
    static let vkCmdPipelineBarrier2: PFN_vkCmdPipelineBarrier2 = { buffer, info in
        call("vkCmdPipelineBarrier2", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands), let info = info?.pointee else { return }
            let family = fake.family(of: commands)
            var barrier = RecordedBarrier()
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_DEPENDENCY_INFO, "VkDependencyInfo")
            for memory in list(info.pMemoryBarriers, info.memoryBarrierCount) {
                fake.checkType(memory.sType, VK_STRUCTURE_TYPE_MEMORY_BARRIER_2, "VkMemoryBarrier2")
                fake.require(
                    (memory.srcStageMask | memory.dstStageMask) & Work.decompression.stage == 0
                        || commands.device.extensions.contains("VK_EXT_memory_decompression"),
                    "VUID-VkMemoryBarrier2-srcStageMask-parameter", "a stage of an extension that is not enabled")
                barrier.memory.append(
                    fake.scope(
                        memory.srcStageMask, memory.srcAccessMask, memory.dstStageMask, memory.dstAccessMask, family))
            }
            for item in list(info.pBufferMemoryBarriers, info.bufferMemoryBarrierCount) {
                fake.checkType(item.sType, VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER_2, "VkBufferMemoryBarrier2")
                guard let recorded = fake.check(item, commands, family) else { continue }
                barrier.buffers.append(recorded)
                commands.uses[recorded.buffer.handle] = recorded.buffer
            }
            for item in list(info.pImageMemoryBarriers, info.imageMemoryBarrierCount) {
                fake.checkType(item.sType, VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2, "VkImageMemoryBarrier2")
                guard let recorded = fake.check(item, commands, family) else { continue }
                barrier.images.append(recorded)
                commands.uses[recorded.image.handle] = recorded.image
            }
            commands.record(.barrier(barrier))
        }
    }

    private func scope(
        _ sourceStages: UInt64, _ sourceAccess: UInt64, _ destinationStages: UInt64, _ destinationAccess: UInt64,
        _ family: QueueFamily
    ) -> BarrierScope {
        checkStages(sourceStages, sourceAccess, "src", family)
        checkStages(destinationStages, destinationAccess, "dst", family)
        return BarrierScope(
            sourceStages: sourceStages, sourceAccess: sourceAccess, destinationStages: destinationStages,
            destinationAccess: destinationAccess)
    }

    private func check(
        _ item: VkBufferMemoryBarrier2, _ commands: FakeCommandBuffer, _ family: QueueFamily
    ) -> RecordedBarrier.OnBuffer? {
        guard let buffer = resolve(item.buffer, FakeBuffer.self, of: commands.device) else { return nil }
        require(buffer.memory != nil, "VUID-VkBufferMemoryBarrier2-buffer-01931", "\(buffer.name) has no memory")
        let end = item.size == VK_WHOLE_SIZE ? buffer.size : item.offset &+ item.size
        guard
            require(
                item.offset < buffer.size, "VUID-VkBufferMemoryBarrier2-offset-01187",
                "offset \(item.offset) of \(buffer.size)"),
            require(item.size > 0, "VUID-VkBufferMemoryBarrier2-size-01188", "0 bytes"),
            require(
                end <= buffer.size && end > item.offset, "VUID-VkBufferMemoryBarrier2-size-01189",
                "\(item.size) bytes at \(item.offset) of \(buffer.size)")
        else { return nil }
        return RecordedBarrier.OnBuffer(
            scope: scope(item.srcStageMask, item.srcAccessMask, item.dstStageMask, item.dstAccessMask, family),
            buffer: buffer, range: item.offset..<end,
            transfer: transfer(item.srcQueueFamilyIndex, item.dstQueueFamilyIndex, commands, buffer.ownership))
    }

    private func check(
        _ item: VkImageMemoryBarrier2, _ commands: FakeCommandBuffer, _ family: QueueFamily
    ) -> RecordedBarrier.OnImage? {
        guard let image = resolve(item.image, FakeImage.self, of: commands.device) else { return nil }
        require(image.memory != nil, "VUID-VkImageMemoryBarrier2-image-01932", "\(image.name) has no memory")
        let range = item.subresourceRange
        require(
            range.aspectMask == VK_IMAGE_ASPECT_COLOR_BIT.rawValue, "VUID-VkImageMemoryBarrier2-image-09241",
            "aspect \(range.aspectMask)")
        let mips = range.levelCount == VK_REMAINING_MIP_LEVELS ? image.mips &- range.baseMipLevel : range.levelCount
        let layers =
            range.layerCount == VK_REMAINING_ARRAY_LAYERS ? image.layers &- range.baseArrayLayer : range.layerCount
        guard
            require(
                range.baseMipLevel < image.mips && mips > 0 && mips <= image.mips - range.baseMipLevel,
                "VUID-VkImageMemoryBarrier2-subresourceRange-01724", "mips \(range.baseMipLevel) and \(mips) on"),
            require(
                range.baseArrayLayer < image.layers && layers > 0 && layers <= image.layers - range.baseArrayLayer,
                "VUID-VkImageMemoryBarrier2-subresourceRange-01725", "layers \(range.baseArrayLayer) and \(layers) on")
        else { return nil }
        let transfer = transfer(item.srcQueueFamilyIndex, item.dstQueueFamilyIndex, commands, image.ownership)
        if item.oldLayout != item.newLayout || transfer != nil { checkLayout(item.newLayout, image) }
        var subresources: [Int] = []
        for layer in range.baseArrayLayer..<range.baseArrayLayer + layers {
            for mip in range.baseMipLevel..<range.baseMipLevel + mips {
                subresources.append(image.subresource(mip: mip, layer: layer))
            }
        }
        return RecordedBarrier.OnImage(
            scope: scope(item.srcStageMask, item.srcAccessMask, item.dstStageMask, item.dstAccessMask, family),
            image: image, subresources: subresources, oldLayout: item.oldLayout, newLayout: item.newLayout,
            transfer: transfer)
    }

    private func checkLayout(_ layout: VkImageLayout, _ image: FakeImage) {
        switch layout {
        case VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_PREINITIALIZED:
            report("VUID-VkImageMemoryBarrier2-newLayout-01198", "to a layout that nothing can be moved to")
        case VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL:
            require(
                image.has(VK_IMAGE_USAGE_TRANSFER_DST_BIT), "VUID-VkImageMemoryBarrier2-oldLayout-01213",
                "TRANSFER_DST_OPTIMAL, and an image without that usage")
        case VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL:
            require(
                image.has(VK_IMAGE_USAGE_TRANSFER_SRC_BIT), "VUID-VkImageMemoryBarrier2-oldLayout-01212",
                "TRANSFER_SRC_OPTIMAL, and an image without that usage")
        case VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL:
            require(
                image.has(VK_IMAGE_USAGE_SAMPLED_BIT) || image.has(VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT),
                "VUID-VkImageMemoryBarrier2-oldLayout-01211", "SHADER_READ_ONLY_OPTIMAL, and an image not for sampling")
        default:
            break
        }
    }

    private func transfer(
        _ from: UInt32, _ to: UInt32, _ commands: FakeCommandBuffer, _ ownership: Ownership
    ) -> RecordedBarrier.Transfer? {
        guard let transfer = RecordedBarrier.Transfer(from, to) else { return nil }
        let families = UInt32(configuration.queueFamilies.count)
        let special = [VK_QUEUE_FAMILY_EXTERNAL, VK_QUEUE_FAMILY_FOREIGN_EXT]
        guard
            require(
                (from < families || special.contains(from)) && (to < families || special.contains(to)),
                "VUID-VkBufferMemoryBarrier2-srcQueueFamilyIndex-04087", "from queue family \(from) to \(to)"),
            require(
                !ownership.isConcurrent, "VUID-VkBufferMemoryBarrier2-buffer-04086",
                "queue families given for a CONCURRENT resource")
        else { return nil }
        require(
            commands.pool.family == from || commands.pool.family == to,
            "VUID-vkCmdPipelineBarrier2-srcQueueFamilyIndex-06710",
            "recorded for queue family \(commands.pool.family), from \(from) to \(to)")
        return transfer
    }
}

import CVulkan

extension FakeVulkan {
    static let vkCmdCopyBufferToImage2: PFN_vkCmdCopyBufferToImage2 = { buffer, info in
        call("vkCmdCopyBufferToImage2", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands), let info = info?.pointee,
                let source = fake.resolve(info.srcBuffer, FakeBuffer.self, of: commands.device),
                let image = fake.resolve(info.dstImage, FakeImage.self, of: commands.device)
            else { return }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_COPY_BUFFER_TO_IMAGE_INFO_2, "VkCopyBufferToImageInfo2")
            fake.require(
                source.has(VK_BUFFER_USAGE_TRANSFER_SRC_BIT), "VUID-VkCopyBufferToImageInfo2-srcBuffer-00174",
                "\(source.name) has no TRANSFER_SRC usage")
            fake.require(
                image.has(VK_IMAGE_USAGE_TRANSFER_DST_BIT), "VUID-VkCopyBufferToImageInfo2-dstImage-00177",
                "\(image.name) has no TRANSFER_DST usage")
            fake.require(
                info.dstImageLayout == VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL
                    || info.dstImageLayout == VK_IMAGE_LAYOUT_GENERAL,
                "VUID-VkCopyBufferToImageInfo2-dstImageLayout-01396", "layout \(info.dstImageLayout.rawValue)")
            let rules = ImageCopyRules(
                "VkCopyBufferToImageInfo2", range: "VUID-VkCopyBufferToImageInfo2-pRegions-00171")
            let regions = fake.check(list(info.pRegions, info.regionCount), source, image, commands, rules)
            for (index, region) in regions.enumerated() {
                for other in regions[..<index] where image.boxes(region).overlap(image.boxes(other)) {
                    fake.report("overlapping destinations", "two regions of one command write the same texels")
                }
            }
            commands.record(
                .bufferToImage(source, image, info.dstImageLayout, regions), using: source, image, source.memory,
                image.memory)
        }
    }

    static let vkCmdCopyImageToBuffer2: PFN_vkCmdCopyImageToBuffer2 = { buffer, info in
        call("vkCmdCopyImageToBuffer2", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands), let info = info?.pointee,
                let image = fake.resolve(info.srcImage, FakeImage.self, of: commands.device),
                let destination = fake.resolve(info.dstBuffer, FakeBuffer.self, of: commands.device)
            else { return }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_COPY_IMAGE_TO_BUFFER_INFO_2, "VkCopyImageToBufferInfo2")
            fake.require(
                destination.has(VK_BUFFER_USAGE_TRANSFER_DST_BIT), "VUID-VkCopyImageToBufferInfo2-dstBuffer-00191",
                "\(destination.name) has no TRANSFER_DST usage")
            fake.require(
                image.has(VK_IMAGE_USAGE_TRANSFER_SRC_BIT), "VUID-VkCopyImageToBufferInfo2-srcImage-00186",
                "\(image.name) has no TRANSFER_SRC usage")
            fake.require(
                info.srcImageLayout == VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL
                    || info.srcImageLayout == VK_IMAGE_LAYOUT_GENERAL,
                "VUID-VkCopyImageToBufferInfo2-srcImageLayout-01397", "layout \(info.srcImageLayout.rawValue)")
            let rules = ImageCopyRules(
                "VkCopyImageToBufferInfo2", range: "VUID-VkCopyImageToBufferInfo2-pRegions-00183")
            let regions = fake.check(list(info.pRegions, info.regionCount), destination, image, commands, rules)
            let written = regions.map { image.bytesInBuffer($0) }.sortedByStart()
            for (before, after) in zip(written, written.dropFirst()) where before.upperBound > after.lowerBound {
                fake.report(
                    "overlapping destinations", "\(before) and \(after) are written by one command, in no order")
                break
            }
            commands.record(
                .imageToBuffer(image, info.srcImageLayout, destination, regions), using: image, destination,
                image.memory, destination.memory)
        }
    }

    private func check(
        _ regions: [VkBufferImageCopy2], _ buffer: FakeBuffer, _ image: FakeImage, _ commands: FakeCommandBuffer,
        _ rules: ImageCopyRules
    ) -> [VkBufferImageCopy2] {
        require(!regions.isEmpty, rules.rule("regionCount-arraylength"), "no regions")
        guard
            require(buffer.memory != nil, rules.rule("buffer-00176"), "\(buffer.name) has no memory"),
            require(image.memory != nil, rules.rule("image-07966"), "\(image.name) has no memory")
        else { return [] }
        return regions.filter { check($0, buffer, image, commands, rules) }
    }

    /// The rules for one region; false if it cannot be performed.
    private func check(
        _ region: VkBufferImageCopy2, _ buffer: FakeBuffer, _ image: FakeImage, _ commands: FakeCommandBuffer,
        _ rules: ImageCopyRules
    ) -> Bool {
        checkType(region.sType, VK_STRUCTURE_TYPE_BUFFER_IMAGE_COPY_2, "VkBufferImageCopy2")
        let format = image.format
        let subresource = region.imageSubresource
        require(
            subresource.aspectMask == VK_IMAGE_ASPECT_COLOR_BIT.rawValue, rules.rule("aspectMask-09105"),
            "aspect \(subresource.aspectMask)")
        guard
            require(
                subresource.mipLevel < image.mips, rules.rule("imageSubresource-07967"),
                "mip \(subresource.mipLevel) of \(image.mips)"),
            require(
                subresource.layerCount > 0 && subresource.baseArrayLayer < image.layers
                    && subresource.layerCount <= image.layers - subresource.baseArrayLayer,
                rules.rule("imageSubresource-07968"),
                "\(subresource.layerCount) layers from \(subresource.baseArrayLayer) of \(image.layers)")
        else { return false }
        let mip = image.extent(mip: subresource.mipLevel)
        let axes: [(String, Int32, UInt32, UInt32, UInt32, (String, String, String))] = [
            (
                "width", region.imageOffset.x, region.imageExtent.width, mip.width, format.width,
                ("06218", "07274", "00207")
            ),
            (
                "height", region.imageOffset.y, region.imageExtent.height, mip.height, format.height,
                ("06219", "07275", "00208")
            ),
            ("depth", region.imageOffset.z, region.imageExtent.depth, mip.depth, 1, ("09104", "07276", "00209")),
        ]
        for (axis, offset, length, whole, block, numbers) in axes {
            guard
                require(length > 0, "VUID-VkBufferImageCopy2-imageExtent-06659", "the \(axis) is 0"),
                require(
                    offset >= 0 && UInt64(offset) + UInt64(length) <= UInt64(whole),
                    rules.rule("imageOffset-\(numbers.0)"), "\(axis) \(length) at \(offset) of \(whole)"),
                require(
                    UInt32(offset) % block == 0, rules.rule("pRegions-\(numbers.1)"),
                    "\(axis) offset \(offset) is not a multiple of the block's \(block)"),
                require(
                    length % block == 0 || UInt32(offset) + length == whole, rules.rule("imageExtent-\(numbers.2)"),
                    "\(axis) \(length) at \(offset) is not in blocks of \(block), and does not end with the mip")
            else { return false }
        }
        checkGranularity(region, image, mip, family(of: commands))
        checkPitch(region, format)
        if family(of: commands).isTransferOnly {
            require(
                region.bufferOffset % 4 == 0, "VUID-\(function)-commandBuffer-07737",
                "bufferOffset \(region.bufferOffset) is not a multiple of 4, on a queue for transfers only")
        }
        require(
            region.bufferOffset % UInt64(format.bytes) == 0, rules.rule("bufferOffset-01558"),
            "bufferOffset \(region.bufferOffset) is not a multiple of the block's \(format.bytes) bytes")
        let bytes = image.bytesInBuffer(region)
        return require(bytes.upperBound <= buffer.size, rules.range, "bytes \(bytes) of \(buffer.size)")
    }

    private func checkPitch(_ region: VkBufferImageCopy2, _ format: ImageFormat) {
        require(
            region.bufferRowLength == 0 || region.bufferRowLength >= region.imageExtent.width,
            "VUID-VkBufferImageCopy2-bufferRowLength-09101", "rows of \(region.bufferRowLength), less than the width")
        require(
            region.bufferImageHeight == 0 || region.bufferImageHeight >= region.imageExtent.height,
            "VUID-VkBufferImageCopy2-bufferImageHeight-09102", "\(region.bufferImageHeight) rows, less than the height")
        require(
            region.bufferRowLength % format.width == 0, "VUID-\(function)-bufferRowLength-09106",
            "rows of \(region.bufferRowLength) are not in blocks of \(format.width)")
        require(
            region.bufferImageHeight % format.height == 0, "VUID-\(function)-bufferImageHeight-09107",
            "\(region.bufferImageHeight) rows are not in blocks of \(format.height)")
    }

    private func checkGranularity(
        _ region: VkBufferImageCopy2, _ image: FakeImage, _ mip: VkExtent3D, _ family: QueueFamily
    ) {
        let granularity = family.granularity
        let axes: [(Int32, UInt32, UInt32, UInt32, UInt32)] = [
            (region.imageOffset.x, region.imageExtent.width, mip.width, granularity.0, image.format.width),
            (region.imageOffset.y, region.imageExtent.height, mip.height, granularity.1, image.format.height),
            (region.imageOffset.z, region.imageExtent.depth, mip.depth, granularity.2, 1),
        ]
        let isWholeOnly = granularity == (0, 0, 0)
        for (offset, length, whole, unit, block) in axes {
            let step = unit * block
            let fits =
                isWholeOnly
                ? offset == 0 && length == whole
                : UInt32(offset) % step == 0 && (length % step == 0 || UInt32(offset) + length == whole)
            require(
                fits, "VUID-\(function)-imageOffset-07738",
                "\(length) at \(offset) of \(whole), on a queue with a granularity of \(granularity)")
        }
    }
}

/// The names of the rules, which differ by direction.
struct ImageCopyRules {
    let structure: String
    let range: String

    init(_ structure: String, range: String) {
        self.structure = structure
        self.range = range
    }

    func rule(_ name: String) -> String { "VUID-\(structure)-\(name)" }
}

extension FakeImage {
    /// The blocks from one row, and from one slice, to the next in the buffer.
    func pitch(_ region: VkBufferImageCopy2) -> (row: Int, slice: Int) {
        let texels = region.bufferRowLength == 0 ? region.imageExtent.width : region.bufferRowLength
        let rows = region.bufferImageHeight == 0 ? region.imageExtent.height : region.bufferImageHeight
        let row = format.columns(texels)
        return (row, row * format.rows(rows))
    }

    /// From the first byte to the last that the region touches in the buffer.
    func bytesInBuffer(_ region: VkBufferImageCopy2) -> Range<UInt64> {
        let pitch = pitch(region)
        let slices = Int(region.imageExtent.depth) * Int(region.imageSubresource.layerCount)
        let blocks =
            (slices - 1) * pitch.slice + (format.rows(region.imageExtent.height) - 1) * pitch.row
            + format.columns(region.imageExtent.width)
        return region.bufferOffset..<region.bufferOffset + UInt64(blocks * format.bytes)
    }

    /// The part of the image that the region touches, a box for each layer.
    func boxes(_ region: VkBufferImageCopy2) -> [Footprint] {
        let subresource = region.imageSubresource
        let offset = region.imageOffset
        let extent = region.imageExtent
        let box = Footprint.Box(
            x: offset.x..<offset.x + Int32(extent.width), y: offset.y..<offset.y + Int32(extent.height),
            z: offset.z..<offset.z + Int32(extent.depth))
        return (subresource.baseArrayLayer..<subresource.baseArrayLayer + subresource.layerCount).map { layer in
            Footprint(
                resource: handle, subresource: self.subresource(mip: subresource.mipLevel, layer: layer), box: box)
        }
    }
}

extension [Footprint] {
    func overlap(_ other: [Footprint]) -> Bool {
        contains { one in other.contains { one.overlaps($0) } }
    }
}

import CVulkan

extension FakeVulkan {
    static let vkCmdCopyBuffer2: PFN_vkCmdCopyBuffer2 = { buffer, info in
        call("vkCmdCopyBuffer2", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands), let info = info?.pointee,
                let source = fake.resolve(info.srcBuffer, FakeBuffer.self, of: commands.device),
                let destination = fake.resolve(info.dstBuffer, FakeBuffer.self, of: commands.device)
            else { return }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2, "VkCopyBufferInfo2")
            fake.require(
                source.has(VK_BUFFER_USAGE_TRANSFER_SRC_BIT), "VUID-VkCopyBufferInfo2-srcBuffer-00118",
                "\(source.name) has no TRANSFER_SRC usage")
            fake.require(
                destination.has(VK_BUFFER_USAGE_TRANSFER_DST_BIT), "VUID-VkCopyBufferInfo2-dstBuffer-00120",
                "\(destination.name) has no TRANSFER_DST usage")
            guard
                fake.require(
                    source.memory != nil, "VUID-VkCopyBufferInfo2-srcBuffer-00119", "\(source.name) has no memory"),
                fake.require(
                    destination.memory != nil, "VUID-VkCopyBufferInfo2-dstBuffer-00121",
                    "\(destination.name) has no memory"),
                fake.require(info.regionCount > 0, "VUID-VkCopyBufferInfo2-regionCount-arraylength", "no regions")
            else { return }
            let regions = UnsafeBufferPointer(start: info.pRegions, count: Int(info.regionCount))
                .compactMap { fake.check($0, source, destination) }
            fake.checkOverlaps(regions, source, destination)
            commands.record(
                .copyBuffer(source, destination, regions), using: source, destination, source.memory, destination.memory
            )
        }
    }

    private func check(
        _ region: VkBufferCopy2, _ source: FakeBuffer, _ destination: FakeBuffer
    ) -> BufferRegion? {
        checkType(region.sType, VK_STRUCTURE_TYPE_BUFFER_COPY_2, "VkBufferCopy2")
        guard
            require(region.size > 0, "VUID-VkBufferCopy2-size-01988", "a region of 0 bytes"),
            require(
                region.srcOffset < source.size, "VUID-VkCopyBufferInfo2-srcOffset-00113",
                "from offset \(region.srcOffset) of \(source.size)"),
            require(
                region.dstOffset < destination.size, "VUID-VkCopyBufferInfo2-dstOffset-00114",
                "to offset \(region.dstOffset) of \(destination.size)"),
            require(
                region.size <= source.size - region.srcOffset, "VUID-VkCopyBufferInfo2-size-00115",
                "\(region.size) bytes from \(region.srcOffset) of \(source.size)"),
            require(
                region.size <= destination.size - region.dstOffset, "VUID-VkCopyBufferInfo2-size-00116",
                "\(region.size) bytes to \(region.dstOffset) of \(destination.size)")
        else { return nil }
        return BufferRegion(
            source: region.srcOffset..<region.srcOffset + region.size,
            destination: region.dstOffset..<region.dstOffset + region.size)
    }

    /// No destination of one command may overlap another, nor a source in the same memory.
    private func checkOverlaps(_ regions: [BufferRegion], _ source: FakeBuffer, _ destination: FakeBuffer) {
        let written = regions.map { $0.destination.moved(by: destination.offset) }.sortedByStart()
        for (before, after) in zip(written, written.dropFirst()) where before.upperBound > after.lowerBound {
            report("overlapping destinations", "\(before) and \(after) are written by one command, in no order")
            break
        }
        guard source.memory === destination.memory else { return }
        let read = regions.map { $0.source.moved(by: source.offset) }.sortedByStart()
        var index = 0
        for range in written {
            while index < read.count, read[index].upperBound <= range.lowerBound { index += 1 }
            if index < read.count, read[index].overlaps(range) {
                report(
                    "VUID-VkCopyBufferInfo2-pRegions-00117",
                    "\(read[index]) is read and \(range) written by one command")
                return
            }
        }
    }
}

extension Range where Bound == UInt64 {
    func moved(by offset: UInt64) -> Range { lowerBound + offset..<upperBound + offset }
}

extension [Range<UInt64>] {
    /// In order, unless they are already, which is the usual case.
    func sortedByStart() -> Self {
        for index in indices.dropFirst() where self[index].lowerBound < self[index - 1].lowerBound {
            return sorted { $0.lowerBound < $1.lowerBound }
        }
        return self
    }

    /// The same bytes in as few ranges as will do.
    func merged() -> Self {
        var all: Self = []
        for range in sortedByStart() {
            if let last = all.last, range.lowerBound <= last.upperBound {
                all[all.count - 1] = last.lowerBound..<Swift.max(last.upperBound, range.upperBound)
            } else {
                all.append(range)
            }
        }
        return all
    }
}

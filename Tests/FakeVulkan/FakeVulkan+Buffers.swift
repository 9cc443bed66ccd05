import CVulkan

final class FakeBuffer: FakeDeviceObject {
    override class var kind: FakeVulkan.Kind { .buffer }

    let size: UInt64
    /// In 64 bits, of which the lower are those of `VkBufferUsageFlags`.
    let usage: VkFlags64
    let isForHostMemory: Bool
    /// Whether the usage was given in 64 bits.
    let isWide: Bool
    var ownership: Ownership
    var memory: FakeMemory?
    var offset: UInt64 = 0

    init(_ fake: FakeVulkan, _ device: FakeDevice, _ info: VkBufferCreateInfo) {
        size = info.size
        let wide = link(
            info.pNext, VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO_KHR,
            as: VkBufferUsageFlags2CreateInfoKHR.self)
        usage = wide?.usage ?? VkFlags64(info.usage)
        isWide = wide != nil
        let external = link(
            info.pNext, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO, as: VkExternalMemoryBufferCreateInfo.self)
        isForHostMemory =
            (external?.handleTypes ?? 0) & VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT.rawValue != 0
        ownership = Ownership(info.sharingMode, fake.configuration.queueFamilies.count)
        super.init(fake, device)
    }

    func has(_ usage: VkBufferUsageFlagBits) -> Bool { self.usage & VkFlags64(usage.rawValue) != 0 }

    /// Where ranges of the buffer are in its memory.
    func footprint(_ ranges: [Range<UInt64>]) -> Footprint? {
        memory.map { Footprint(resource: $0.handle, ranges: ranges.map { $0.moved(by: offset) }) }
    }
}

extension FakeVulkan {
    static let vkCreateBuffer: PFN_vkCreateBuffer = { device, info, _, result in
        command("vkCreateBuffer", device, FakeDevice.self) { fake, device in
            guard let info = info?.pointee, let result else { return VK_ERROR_UNKNOWN }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, "VkBufferCreateInfo")
            fake.require(info.size > 0, "VUID-VkBufferCreateInfo-size-00912", "0 bytes")
            fake.require(info.usage != 0, "VUID-VkBufferCreateInfo-usage-requiredbitmask", "no usage")
            fake.checkSharing(
                info.sharingMode, list(info.pQueueFamilyIndices, info.queueFamilyIndexCount), "VkBufferCreateInfo")
            let buffer = FakeBuffer(fake, device, info)
            fake.require(
                !buffer.isForHostMemory || device.extensions.contains("VK_EXT_external_memory_host"),
                "VUID-VkExternalMemoryBufferCreateInfo-handleTypes-parameter",
                "host memory without VK_EXT_external_memory_host")
            fake.require(
                !buffer.isWide || device.features.contains(.maintenance5), "VUID-VkBufferCreateInfo-pNext-pNext",
                "VkBufferUsageFlags2CreateInfo without maintenance5")
            fake.born(buffer)
            result.pointee = buffer.pointer
            return VK_SUCCESS
        }
    }

    func checkSharing(_ mode: VkSharingMode, _ families: [UInt32], _ structure: String) {
        guard mode == VK_SHARING_MODE_CONCURRENT else { return }
        require(
            families.count > 1 && Set(families).count == families.count
                && families.allSatisfy { Int($0) < configuration.queueFamilies.count },
            "VUID-\(structure)-sharingMode-01419", "CONCURRENT among the queue families \(families)")
    }

    static let vkDestroyBuffer: PFN_vkDestroyBuffer = { device, buffer, _ in
        guard buffer != nil else { return }
        call("vkDestroyBuffer", device, FakeDevice.self, alone: buffer, otherwise: ()) { fake, device in
            guard let buffer = fake.resolve(buffer, FakeBuffer.self, of: device) else { return }
            if fake.die(buffer, inUse: "VUID-vkDestroyBuffer-buffer-00922") {
                buffer.memory?.bindings.removeAll { $0.handle == buffer.handle }
            }
        }
    }

    static let vkGetBufferMemoryRequirements: PFN_vkGetBufferMemoryRequirements = { device, buffer, result in
        call("vkGetBufferMemoryRequirements", device, FakeDevice.self, otherwise: ()) { fake, device in
            guard let buffer = fake.resolve(buffer, FakeBuffer.self, of: device) else { return }
            result?.pointee = fake.requirements(buffer)
        }
    }

    private func requirements(_ buffer: FakeBuffer) -> VkMemoryRequirements {
        let alignment = configuration.bufferAlignment
        let all = UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(configuration.memoryTypes.count)) - 1)
        return VkMemoryRequirements(
            size: (buffer.size + alignment - 1) / alignment * alignment, alignment: alignment,
            memoryTypeBits: all & configuration.bufferMemoryTypes
                & (buffer.isForHostMemory ? configuration.importTypes : .max))
    }

    static let vkBindBufferMemory: PFN_vkBindBufferMemory = { device, buffer, memory, offset in
        command("vkBindBufferMemory", device, FakeDevice.self, alone: buffer) { fake, device in
            guard let buffer = fake.resolve(buffer, FakeBuffer.self, of: device),
                let memory = fake.resolve(memory, FakeMemory.self, of: device)
            else { return VK_ERROR_UNKNOWN }
            guard
                fake.require(
                    buffer.memory == nil, "VUID-vkBindBufferMemory-buffer-07459", "\(buffer.name) is bound already"),
                fake.checkBinding(fake.requirements(buffer), memory, offset, "vkBindBufferMemory")
            else { return VK_ERROR_UNKNOWN }
            fake.require(
                !memory.isImported || buffer.isForHostMemory, "VUID-vkBindBufferMemory-memory-02985",
                "imported memory, and a buffer without VkExternalMemoryBufferCreateInfo")
            fake.require(
                !buffer.has(VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT) || memory.hasAddresses,
                "VUID-vkBindBufferMemory-bufferDeviceAddress-03339", "\(memory.name) was not made for addresses")
            buffer.memory = memory
            buffer.offset = offset
            fake.checkGranularity(memory, offset..<offset + buffer.size, isImage: false, buffer.handle)
            return VK_SUCCESS
        }
    }

    func checkBinding(
        _ needs: VkMemoryRequirements, _ memory: FakeMemory, _ offset: UInt64, _ function: String
    ) -> Bool {
        require(
            needs.memoryTypeBits & (1 << memory.typeIndex) != 0, "VUID-\(function)-memory-01035",
            "memory type \(memory.typeIndex) is not allowed")
        require(
            offset % needs.alignment == 0, "VUID-\(function)-memoryOffset-01036",
            "offset \(offset) is not a multiple of \(needs.alignment)")
        return require(
            offset < memory.size && needs.size <= memory.size - offset, "VUID-\(function)-size-01037",
            "\(needs.size) bytes at \(offset) of \(memory.size)")
    }

    /// Buffers and images must be a page of `bufferImageGranularity` apart.
    func checkGranularity(_ memory: FakeMemory, _ range: Range<UInt64>, isImage: Bool, _ handle: UInt) {
        let page = configuration.bufferImageGranularity
        let pages = range.lowerBound / page...(range.upperBound - 1) / page
        for other in memory.bindings where other.isImage != isImage || (isImage && other.range.overlaps(range)) {
            require(
                !pages.overlaps(other.range.lowerBound / page...(other.range.upperBound - 1) / page),
                "bufferImageGranularity", "\(range) and \(other.range) of \(memory.name) are too close")
        }
        memory.bindings.append((range, isImage, handle))
    }
}

import CVulkan
import Glibc

/// Device memory: what the device sees, and what the host sees.
final class FakeMemory: FakeDeviceObject {
    override class var kind: FakeVulkan.Kind { .memory }

    let size: UInt64
    let type: FakeVulkan.MemoryType
    let typeIndex: UInt32
    /// What copies read and write.
    let deviceBytes: UnsafeMutableRawPointer
    /// What mapping gives out; another block of memory when the two are not coherent.
    let hostBytes: UnsafeMutableRawPointer
    let isImported: Bool
    /// Whether buffers in it may have addresses.
    var hasAddresses = false
    var mapped: Range<UInt64>?
    /// What is bound, for the granularity between buffers and images.
    var bindings: [(range: Range<UInt64>, isImage: Bool, handle: UInt)] = []

    init(_ fake: FakeVulkan, _ device: FakeDevice, size: UInt64, typeIndex: UInt32, imported: UnsafeMutableRawPointer?)
    {
        self.size = size
        self.typeIndex = typeIndex
        type = fake.configuration.memoryTypes[Int(typeIndex)]
        isImported = imported != nil
        let isCoherent = type.isCoherent || !type.isHostVisible
        if let imported, isCoherent {
            deviceBytes = imported
        } else {
            deviceBytes = .allocate(byteCount: Int(size), alignment: 4096)
            if fake.configuration.poisonsFreshMemory { memset(deviceBytes, 0xDD, Int(size)) }
        }
        if let imported {
            hostBytes = imported
        } else if isCoherent {
            hostBytes = deviceBytes
        } else {
            hostBytes = .allocate(byteCount: Int(size), alignment: 4096)
            if fake.configuration.poisonsFreshMemory { memset(hostBytes, 0xEE, Int(size)) }
        }
        super.init(fake, device)
    }

    deinit { release() }

    private var isReleased = false

    func release() {
        guard !isReleased else { return }
        isReleased = true
        if !isImported, hostBytes != deviceBytes { hostBytes.deallocate() }
        if !isImported || hostBytes != deviceBytes { deviceBytes.deallocate() }
    }
}

extension FakeVulkan {
    static let vkAllocateMemory: PFN_vkAllocateMemory = { device, info, _, result in
        command("vkAllocateMemory", device, FakeDevice.self) { fake, device in
            guard let info = info?.pointee, let result else { return VK_ERROR_UNKNOWN }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, "VkMemoryAllocateInfo")
            return fake.allocate(info, device, result)
        }
    }

    private func allocate(
        _ info: VkMemoryAllocateInfo, _ device: FakeDevice, _ result: UnsafeMutablePointer<VkDeviceMemory?>
    ) -> VkResult {
        let settings = configuration
        let typeIndex = Int(info.memoryTypeIndex)
        guard
            require(
                settings.memoryTypes.indices.contains(typeIndex), "VUID-vkAllocateMemory-pAllocateInfo-01714",
                "no memory type \(typeIndex)"),
            require(info.allocationSize > 0, "VUID-VkMemoryAllocateInfo-allocationSize-07897", "0 bytes")
        else { return VK_ERROR_OUT_OF_DEVICE_MEMORY }
        require(
            info.allocationSize <= settings.heaps[settings.memoryTypes[typeIndex].heap],
            "VUID-vkAllocateMemory-pAllocateInfo-01713", "\(info.allocationSize) bytes, more than the heap")
        let imported = link(
            info.pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT, as: VkImportMemoryHostPointerInfoEXT.self
        )
        if let imported, !mayImport(imported, info, device) { return VK_ERROR_INVALID_EXTERNAL_HANDLE }
        guard allocationCount < Int(settings.maxMemoryAllocationCount) else {
            report("VUID-vkAllocateMemory-maxMemoryAllocationCount-04101", "\(allocationCount) allocations already")
            return VK_ERROR_TOO_MANY_OBJECTS
        }
        if imported == nil {
            let heap = settings.heaps[settings.memoryTypes[typeIndex].heap]
            guard info.allocationSize <= min(heap, settings.maxMemoryAllocationSize),
                allocatedBytes + info.allocationSize <= settings.memoryLimit
            else { return VK_ERROR_OUT_OF_DEVICE_MEMORY }
            allocatedBytes += info.allocationSize
            allocatedBytesOfHeap[settings.memoryTypes[typeIndex].heap, default: 0] += info.allocationSize
        } else {
            importCount += 1
        }
        allocationCount += 1
        let memory = FakeMemory(
            self, device, size: info.allocationSize, typeIndex: info.memoryTypeIndex, imported: imported?.pHostPointer)
        let flags = link(
            info.pNext, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, as: VkMemoryAllocateFlagsInfo.self)
        memory.hasAddresses = (flags?.flags ?? 0) & VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT.rawValue != 0
        require(
            !memory.hasAddresses || device.features.contains(.bufferDeviceAddress),
            "VUID-VkMemoryAllocateInfo-flags-03331", "bufferDeviceAddress is not enabled")
        if let start = imported?.pHostPointer {
            let first = UInt(bitPattern: start)
            imports[memory.handle] = first...(first + UInt(info.allocationSize) - 1)
        }
        born(memory)
        result.pointee = memory.pointer
        return VK_SUCCESS
    }

    private func mayImport(
        _ imported: VkImportMemoryHostPointerInfoEXT, _ info: VkMemoryAllocateInfo, _ device: FakeDevice
    ) -> Bool {
        require(
            device.extensions.contains("VK_EXT_external_memory_host"), "VUID-VkMemoryAllocateInfo-pNext-pNext",
            "VK_EXT_external_memory_host is not enabled")
        require(
            imported.handleType == VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
            "VUID-VkImportMemoryHostPointerInfoEXT-handleType-01748", "wrong handle type")
        let alignment = configuration.minImportedHostPointerAlignment
        let first = UInt(bitPattern: imported.pHostPointer)
        require(
            UInt64(first) % alignment == 0, "VUID-VkImportMemoryHostPointerInfoEXT-pHostPointer-01749",
            "\(imported.pHostPointer!) is not a multiple of \(alignment)")
        require(
            info.allocationSize % alignment == 0, "VUID-VkMemoryAllocateInfo-allocationSize-01745",
            "\(info.allocationSize) bytes is not a multiple of \(alignment)")
        require(
            configuration.importTypes & (1 << info.memoryTypeIndex) != 0,
            "VUID-VkMemoryAllocateInfo-memoryTypeIndex-01744", "memory type \(info.memoryTypeIndex) does not import")
        let range = first...(first + UInt(info.allocationSize) - 1)
        for (handle, other) in imports {
            require(
                !other.overlaps(range), "imported twice",
                "\(imported.pHostPointer!) is imported already, as memory \(String(handle, radix: 16))")
        }
        return importCount < configuration.importLimit
    }

    static let vkFreeMemory: PFN_vkFreeMemory = { device, memory, _ in
        guard memory != nil else { return }
        call("vkFreeMemory", device, FakeDevice.self, alone: memory, otherwise: ()) { fake, device in
            guard let memory = fake.resolve(memory, FakeMemory.self, of: device) else { return }
            guard fake.die(memory, inUse: "VUID-vkFreeMemory-memory-00677") else { return }
            fake.allocationCount -= 1
            if !memory.isImported {
                fake.allocatedBytes -= memory.size
                fake.allocatedBytesOfHeap[memory.type.heap, default: 0] -= memory.size
            }
            fake.imports[memory.handle] = nil
            fake.accesses[memory.handle] = nil
            memory.release()
        }
    }

    static let vkMapMemory: PFN_vkMapMemory = { device, memory, offset, size, _, result in
        command("vkMapMemory", device, FakeDevice.self, alone: memory) { fake, device in
            guard let memory = fake.resolve(memory, FakeMemory.self, of: device) else {
                return VK_ERROR_MEMORY_MAP_FAILED
            }
            fake.require(memory.mapped == nil, "VUID-vkMapMemory-memory-00678", "\(memory.name) is mapped already")
            guard
                fake.require(
                    memory.type.isHostVisible, "VUID-vkMapMemory-memory-00682", "\(memory.name) is not host-visible"),
                fake.require(
                    offset < memory.size, "VUID-vkMapMemory-offset-00679", "offset \(offset) of \(memory.size)")
            else { return VK_ERROR_MEMORY_MAP_FAILED }
            let length = size == VK_WHOLE_SIZE ? memory.size - offset : size
            fake.require(
                length > 0 && length <= memory.size - offset, "VUID-vkMapMemory-size-00681",
                "\(length) bytes at \(offset) of \(memory.size)")
            memory.mapped = offset..<min(memory.size, offset + length)
            result?.pointee = memory.hostBytes + Int(offset)
            return VK_SUCCESS
        }
    }

    static let vkFlushMappedMemoryRanges: PFN_vkFlushMappedMemoryRanges = { device, count, ranges in
        command("vkFlushMappedMemoryRanges", device, FakeDevice.self) { fake, device in
            for range in list(ranges, count) {
                fake.synchronize(range, device) { memory, bytes in
                    guard memory.hostBytes != memory.deviceBytes else { return }
                    memcpy(
                        memory.deviceBytes + Int(bytes.lowerBound), memory.hostBytes + Int(bytes.lowerBound),
                        bytes.count)
                }
            }
            return VK_SUCCESS
        }
    }

    static let vkInvalidateMappedMemoryRanges: PFN_vkInvalidateMappedMemoryRanges = { device, count, ranges in
        command("vkInvalidateMappedMemoryRanges", device, FakeDevice.self) { fake, device in
            for range in list(ranges, count) {
                fake.synchronize(range, device) { memory, bytes in
                    fake.checkHostRead(memory, bytes)
                    guard memory.hostBytes != memory.deviceBytes else { return }
                    memcpy(
                        memory.hostBytes + Int(bytes.lowerBound), memory.deviceBytes + Int(bytes.lowerBound),
                        bytes.count)
                }
            }
            return VK_SUCCESS
        }
    }

    private func synchronize(
        _ range: VkMappedMemoryRange, _ device: FakeDevice, _ body: (FakeMemory, Range<UInt64>) -> Void
    ) {
        guard let memory = resolve(range.memory, FakeMemory.self, of: device) else { return }
        checkType(range.sType, VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, "VkMappedMemoryRange")
        guard let mapped = memory.mapped else {
            report("VUID-VkMappedMemoryRange-memory-00684", "\(memory.name) is not mapped")
            return
        }
        let isWhole = range.size == VK_WHOLE_SIZE
        let end = isWhole ? mapped.upperBound : range.offset &+ range.size
        let atom = configuration.nonCoherentAtomSize
        require(
            range.offset % atom == 0, "VUID-VkMappedMemoryRange-offset-00687",
            "offset \(range.offset) is not a multiple of \(atom)")
        require(
            isWhole || range.size % atom == 0 || end == memory.size, "VUID-VkMappedMemoryRange-size-01390",
            "\(range.size) bytes is not a multiple of \(atom), and does not end with the memory")
        guard
            require(
                range.offset >= mapped.lowerBound && end <= mapped.upperBound && range.offset <= end,
                "VUID-VkMappedMemoryRange-size-00685", "\(range.offset)..<\(end) is not in what is mapped, \(mapped)")
        else { return }
        body(memory, range.offset..<end)
    }

    static let vkGetMemoryHostPointerProperties: PFN_vkGetMemoryHostPointerPropertiesEXT = {
        device, handleType, pointer, result in
        command("vkGetMemoryHostPointerPropertiesEXT", device, FakeDevice.self) { fake, _ in
            fake.require(
                handleType == VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
                "VUID-vkGetMemoryHostPointerPropertiesEXT-handleType-01752", "wrong handle type")
            let alignment = fake.configuration.minImportedHostPointerAlignment
            fake.require(
                UInt64(UInt(bitPattern: pointer)) % alignment == 0,
                "VUID-vkGetMemoryHostPointerPropertiesEXT-pHostPointer-01753", "not a multiple of \(alignment)")
            result?.pointee.memoryTypeBits = fake.configuration.importTypes
            return VK_SUCCESS
        }
    }
}

import CVulkan
import Penstock

/// Staging memory as Vulkan sees it: a `VkBuffer` for each slab, made when the slab is first used.
///
/// Three rungs: the slab's memory imported (`VK_EXT_external_memory_host`); Vulkan's own memory handed to the arena as its
/// slabs; and, should a single import fail later, a buffer beside the slab through which the bytes are copied.
final class StagingSlabs {
    /// One slab.
    struct Slab {
        var base: UnsafeMutableRawPointer
        var buffer: VkBuffer
        var memory: VkDeviceMemory?
        /// Where in the buffer the slab starts.
        var offset: UInt64 = 0
        /// Whether what the host writes need not be flushed, nor what the device writes invalidated.
        var isCoherent = true
        /// The host's view of a buffer that is not the slab's own memory.
        var shadow: UnsafeMutableRawPointer?
    }

    /// What every block starts at a multiple of, in its slab's buffer, in bytes.
    static let alignment = SlabArena.smallestBlock
    /// The largest piece that finds room, in bytes.
    static let largestPiece = SlabArena.slabSize

    private let device: GPUDevice
    let arena: SlabArena
    /// Nil where slabs are imported.
    private let allocated: AllocatedSlabs?
    private(set) var slabs: [Slab?] = []

    var imports: Bool { allocated == nil }

    // The first slab stays: with one, everything goes on, if slowly, when there is no more memory later; with none, requests
    // would wait for ever.
    init(_ device: GPUDevice, limit: Int, _ source: SlabSource) throws(StorageError) {
        self.device = device
        if device.canImport {
            let arena = SlabArena(limit: limit, source: source)
            guard let block = arena.take(SlabArena.slabSize) else { throw StorageError(.outOfMemory, .setUp) }
            arena.release(block)
            do throws(VulkanFailure) {
                // Some drivers offer the extension and refuse, or refuse memory such as this source's.
                slabs = [try Self.importSlab(arena.base(ofSlab: block.slab), device)]
                self.arena = arena
                allocated = nil
                arena.keepReserve()
                return
            } catch {
                device.note(error.result)
                arena.retire()
            }
        }
        let allocated = try AllocatedSlabs(device)
        self.allocated = allocated
        arena = SlabArena(limit: limit, source: allocated.source)
        if let block = arena.take(SlabArena.slabSize) { arena.release(block) }
        arena.keepReserve()
    }

    deinit { destroy() }

    /// The slab's buffer; nil when Vulkan has no memory for one.
    func slab(of block: SlabArena.Block) -> Result<Slab, VulkanFailure> {
        if block.slab < slabs.count, let slab = slabs[block.slab] { return .success(slab) }
        while slabs.count <= block.slab { slabs.append(nil) }
        do throws(VulkanFailure) {
            let slab: Slab
            if let allocated {
                slab = allocated.slab(at: arena.base(ofSlab: block.slab))
            } else {
                slab = try makeSlab(arena.base(ofSlab: block.slab))
            }
            slabs[block.slab] = slab
            return .success(slab)
        } catch {
            device.note(error.result)
            return .failure(error)
        }
    }

    private func makeSlab(_ base: UnsafeMutableRawPointer) throws(VulkanFailure) -> Slab {
        do throws(VulkanFailure) {
            return try Self.importSlab(base, device)
        } catch {
            guard error.result != VK_ERROR_DEVICE_LOST else { throw error }
            let shadow = try HostVisibleBuffer(device, size: UInt64(SlabArena.slabSize))
            return Slab(
                base: base, buffer: shadow.buffer, memory: shadow.memory, isCoherent: shadow.isCoherent,
                shadow: shadow.mapped)
        }
    }

    /// Nothing is in flight.
    func destroy() {
        guard allocated == nil else { return slabs = [] }
        for case let slab? in slabs {
            device.functions.destroyBuffer(device.device, slab.buffer, nil)
            device.functions.freeMemory(device.device, slab.memory, nil)
        }
        slabs = []
    }

    // MARK: Importing

    private static func importSlab(
        _ base: UnsafeMutableRawPointer, _ device: GPUDevice
    ) throws(VulkanFailure) -> Slab {
        let functions = device.functions
        let size = UInt64(SlabArena.slabSize)
        let kind = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT
        // lavapipe takes any address; others do not. A slab is aligned to its own size.
        let alignment = UInt(device.physical.importAlignment ?? 4096)
        precondition(UInt(bitPattern: base) % alignment == 0 && UInt(size) % alignment == 0)
        var properties = VkMemoryHostPointerPropertiesEXT()
        properties.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT
        try check(
            functions.getMemoryHostPointerProperties!(device.device, kind, base, &properties),
            "vkGetMemoryHostPointerPropertiesEXT")

        var external = VkExternalMemoryBufferCreateInfo()
        external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO
        external.handleTypes = kind.rawValue
        var buffer: VkBuffer?
        let usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue | VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue
        try check(device.createBuffer(&buffer, size, usage, next: &external), "vkCreateBuffer")
        do throws(VulkanFailure) {
            var requirements = VkMemoryRequirements()
            functions.getBufferMemoryRequirements(device.device, buffer, &requirements)
            // A driver that wants more than a slab for a slab cannot be given one.
            guard requirements.size <= size,
                let type = device.physical.memoryType(
                    requirements.memoryTypeBits & properties.memoryTypeBits,
                    required: [VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, VK_MEMORY_PROPERTY_HOST_COHERENT_BIT],
                    wanted: [VK_MEMORY_PROPERTY_HOST_CACHED_BIT])
            else { throw VulkanFailure(VK_ERROR_INVALID_EXTERNAL_HANDLE, "vkGetMemoryHostPointerPropertiesEXT") }
            var info = VkImportMemoryHostPointerInfoEXT()
            info.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT
            info.handleType = kind
            info.pHostPointer = base
            let memory = try allocate(size, type.index, &info, device)
            let bound = functions.bindBufferMemory(device.device, buffer, memory, 0)
            guard bound == VK_SUCCESS else {
                functions.freeMemory(device.device, memory, nil)
                throw VulkanFailure(bound, "vkBindBufferMemory")
            }
            return Slab(base: base, buffer: buffer!, memory: memory)
        } catch {
            functions.destroyBuffer(device.device, buffer, nil)
            throw error
        }
    }

    private static func allocate(
        _ size: UInt64, _ type: UInt32, _ next: UnsafeRawPointer, _ device: GPUDevice
    ) throws(VulkanFailure) -> VkDeviceMemory {
        var info = VkMemoryAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
        info.pNext = next
        info.allocationSize = size
        info.memoryTypeIndex = type
        var memory: VkDeviceMemory?
        try check(device.functions.allocateMemory(device.device, &info, nil, &memory), "vkAllocateMemory")
        return memory!
    }
}

/// Memory that the host and the device do not see alike.
extension StagingSlabs {
    /// The host has written bytes of the slab that the device is to read.
    func hostDidWrite(_ memory: UnsafeMutableRawPointer, _ count: Int, _ slab: Slab) {
        if let shadow = slab.shadow {
            (shadow + (memory - slab.base)).copyMemory(from: memory, byteCount: count)
        }
        guard !slab.isCoherent else { return }
        var range = mappedRange(memory, count, slab)
        device.note(device.functions.flushMappedMemoryRanges(device.device, 1, &range))
    }

    /// The device has written bytes of the slab that the host is to read.
    func deviceDidWrite(_ memory: UnsafeMutableRawPointer, _ count: Int, _ slab: Slab) {
        if !slab.isCoherent {
            var range = mappedRange(memory, count, slab)
            device.note(device.functions.invalidateMappedMemoryRanges(device.device, 1, &range))
        }
        if let shadow = slab.shadow {
            memory.copyMemory(from: shadow + (memory - slab.base), byteCount: count)
        }
    }

    private func mappedRange(_ memory: UnsafeMutableRawPointer, _ count: Int, _ slab: Slab) -> VkMappedMemoryRange {
        let unit = UInt64(device.physical.nonCoherentAtomSize)
        let start = slab.offset + UInt64(memory - slab.base)
        var range = VkMappedMemoryRange()
        range.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE
        range.memory = slab.memory
        range.offset = start / unit * unit
        range.size = (start + UInt64(count) + unit - 1) / unit * unit - range.offset
        return range
    }
}

import CVulkan
import Penstock
import Synchronization

/// A buffer in memory that the host reads and writes.
struct HostVisibleBuffer: @unchecked Sendable {  // handles for any thread
    let buffer: VkBuffer
    let memory: VkDeviceMemory
    let mapped: UnsafeMutableRawPointer
    let isCoherent: Bool

    /// In cached memory where there is some: what write-combined memory holds must never be read.
    init(_ device: GPUDevice, size: UInt64) throws(VulkanFailure) {
        let functions = device.functions
        var buffer: VkBuffer?
        let usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue | VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue
        try check(device.createBuffer(&buffer, size, usage), "vkCreateBuffer")
        var memory: VkDeviceMemory?
        do throws(VulkanFailure) {
            var requirements = VkMemoryRequirements()
            functions.getBufferMemoryRequirements(device.device, buffer, &requirements)
            guard
                let type = device.physical.memoryType(
                    requirements.memoryTypeBits, required: [VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT],
                    wanted: [VK_MEMORY_PROPERTY_HOST_CACHED_BIT, VK_MEMORY_PROPERTY_HOST_COHERENT_BIT])
            else { throw VulkanFailure(VK_ERROR_OUT_OF_DEVICE_MEMORY, "vkGetBufferMemoryRequirements") }
            var info = VkMemoryAllocateInfo()
            info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
            info.allocationSize = requirements.size
            info.memoryTypeIndex = type.index
            try check(functions.allocateMemory(device.device, &info, nil, &memory), "vkAllocateMemory")
            try check(functions.bindBufferMemory(device.device, buffer, memory, 0), "vkBindBufferMemory")
            var mapped: UnsafeMutableRawPointer?
            try check(functions.mapMemory(device.device, memory, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory")
            self.buffer = buffer!
            self.memory = memory!
            self.mapped = mapped!
            isCoherent = type.has(VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)
        } catch {
            functions.destroyBuffer(device.device, buffer, nil)
            if let memory { functions.freeMemory(device.device, memory, nil) }
            throw error
        }
    }

    func destroy(_ device: GPUDevice) {
        device.functions.destroyBuffer(device.device, buffer, nil)
        device.functions.freeMemory(device.device, memory, nil)
    }
}

/// Slabs for an arena out of Vulkan's own host-visible memory, where host memory cannot be imported.
final class AllocatedSlabs: Sendable {
    let source: SlabSource
    private let made: Locked<[UInt: HostVisibleBuffer]>
    private let first: Locked<HostVisibleBuffer?>
    private let device: GPUDevice

    init(_ device: GPUDevice) throws(StorageError) {
        let all = Locked<[UInt: HostVisibleBuffer]>([:])
        // The first is made at once: it shows whether there is such memory. With one slab everything goes on, if slowly,
        // when there is no more of it later; with none, requests would wait for ever.
        let first: Locked<HostVisibleBuffer?>
        do throws(VulkanFailure) {
            first = Locked(try HostVisibleBuffer(device, size: UInt64(SlabArena.slabSize + Self.page)))
        } catch {
            device.note(error.result)
            throw error.error(.setUp)
        }
        self.made = all
        self.first = first
        self.device = device
        source = SlabSource(
            map: { size in
                // Blocks start on pages; what Vulkan maps need not.
                var made = size == SlabArena.slabSize ? first.withLock({ $0.take() }) : nil
                if made == nil { made = try? HostVisibleBuffer(device, size: UInt64(size + Self.page)) }
                guard let buffer = made else { return nil }
                let base = Self.alignUp(buffer.mapped)
                all.withLock { $0[UInt(bitPattern: base)] = buffer }
                return (base, false)
            },
            unmap: { base, _ in
                let buffer = all.withLock { $0.removeValue(forKey: UInt(bitPattern: base)) }
                buffer?.destroy(device)
            })
    }

    deinit { first.withLock { $0.take() }?.destroy(device) }

    func slab(at base: UnsafeMutableRawPointer) -> StagingSlabs.Slab {
        let buffer = made.withLock { $0[UInt(bitPattern: base)]! }
        return StagingSlabs.Slab(
            base: base, buffer: buffer.buffer, memory: buffer.memory, offset: UInt64(base - buffer.mapped),
            isCoherent: buffer.isCoherent)
    }

    private static let page = 4096

    private static func alignUp(_ pointer: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        pointer + (page - Int(UInt(bitPattern: pointer) % UInt(page))) % page
    }
}

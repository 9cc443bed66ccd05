import CVulkan
import Penstock

/// Memory that pages are decoded in, and what the shader is told and says of them: for one submission at a time.
///
/// The pages are copied to memory of the device's own, decoded there, and copied on to where they shall go. So the
/// destination may be anything that can be copied to, a buffer that was not made for shaders included; the shader meets
/// words only, whatever offsets and sizes there are; and what a page holds cannot make it touch memory of anyone else's.
final class DecodeSlot: @unchecked Sendable {  // the ring thread's
    /// Pages for one dispatch, and their encoded bytes.
    struct Capacity: Equatable {
        var pages: Int
        var encodedBytes: Int

        init(pages: Int, encodedBytes: Int) {
            self.pages = pages
            self.encodedBytes = encodedBytes
        }

        /// As many pages as keep the device busy. A CPU has a few cores; a GPU hundreds of workgroups at once.
        init(_ physical: PhysicalDevice) {
            pages = physical.type == VK_PHYSICAL_DEVICE_TYPE_CPU ? SinkDecoding.mostPagesPerPiece : 512
            // Pages are compressed, but need not be; a piece always finds room, whatever it holds.
            encodedBytes = max(4 << 20, pages << 15)
        }
    }

    let capacity: Capacity
    /// Everything that the shader reads and writes.
    let buffer: VkBuffer
    /// Where the device has it; 0: nothing asks for it.
    let address: VkDeviceAddress
    let set: VkDescriptorSet
    /// The pages on their way to the shader, and the statuses on their way back.
    let control: HostVisibleBuffer
    private let pool: VkDescriptorPool
    private let allocation: GPUHeap.Allocation
    let device: GPUDevice

    // MARK: Layout

    /// Encoded bytes are at the buffer's start.
    static let encodedStart = 0
    var decodedStart: Int { capacity.encodedBytes }
    var decodedBytes: Int { capacity.pages * SinkDecoding.pageSize }
    var pagesStart: Int { decodedStart + decodedBytes }
    var pagesBytes: Int { capacity.pages * MemoryLayout<DecodePipeline.Page>.stride }
    /// Of the counter that pages are taken from, and each page's status.
    var statusesStart: Int { pagesStart + pagesBytes }
    var statusesBytes: Int { (1 + capacity.pages) * MemoryLayout<UInt32>.stride }
    private var byteCount: Int { statusesStart + statusesBytes }
    /// In ``control``, behind the pages.
    var statusesInControl: Int { pagesBytes }

    init(
        _ device: GPUDevice, _ pipeline: DecodePipeline, _ functions: ComputeFunctions, _ capacity: Capacity
    ) throws(StorageError) {
        // A multiple of whatever a device asks bindings to be aligned to: 256 at most.
        precondition(capacity.pages % 16 == 0 && capacity.encodedBytes % 256 == 0)
        self.device = device
        self.capacity = capacity
        let pages = capacity.pages * MemoryLayout<DecodePipeline.Page>.stride
        let statuses = (1 + capacity.pages) * MemoryLayout<UInt32>.stride
        let size = capacity.encodedBytes + capacity.pages * SinkDecoding.pageSize + pages + statuses
        (buffer, allocation) = try Self.makeBuffer(device, size)
        address = device.decompression?.address(of: buffer, device.device) ?? 0
        do throws(StorageError) {
            do throws(VulkanFailure) {
                control = try HostVisibleBuffer(device, size: UInt64(pages + statuses))
                do throws(VulkanFailure) {
                    (pool, set) = try Self.makeSet(device, pipeline, functions)
                } catch {
                    control.destroy(device)
                    throw error
                }
            } catch {
                device.note(error.result)
                throw error.error(.allocate, length: size)
            }
        } catch {
            device.functions.destroyBuffer(device.device, buffer, nil)
            device.heap.free(allocation)
            throw error
        }
        bind(functions)
    }

    /// Nothing is in flight.
    func destroy() {
        device.functions.compute?.destroyDescriptorPool(device.device, pool, nil)
        control.destroy(device)
        device.functions.destroyBuffer(device.device, buffer, nil)
        device.heap.free(allocation)
    }

    // MARK: The host's side

    /// What the shader has said of a page.
    func status(of page: Int) -> DecodePipeline.Status {
        let word = control.mapped.load(fromByteOffset: statusesInControl + 4 * page, as: UInt32.self)
        // The shader writes no other number; were it to, the page would not be decoded.
        return DecodePipeline.Status(rawValue: word) ?? .none
    }

    /// The host has written pages.
    func hostDidWrite() {
        guard !control.isCoherent else { return }
        var range = Self.all(of: control)
        device.note(device.functions.flushMappedMemoryRanges(device.device, 1, &range))
    }

    /// The device has written statuses.
    func deviceDidWrite() {
        guard !control.isCoherent else { return }
        var range = Self.all(of: control)
        device.note(device.functions.invalidateMappedMemoryRanges(device.device, 1, &range))
    }

    private static func all(of buffer: HostVisibleBuffer) -> VkMappedMemoryRange {
        var range = VkMappedMemoryRange()
        range.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE
        range.memory = buffer.memory
        range.size = VK_WHOLE_SIZE
        return range
    }

    // MARK: Parts

    private static func makeBuffer(
        _ device: GPUDevice, _ size: Int
    ) throws(StorageError) -> (VkBuffer, GPUHeap.Allocation) {
        var info = VkBufferCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO
        info.size = UInt64(size)
        info.usage =
            VK_BUFFER_USAGE_STORAGE_BUFFER_BIT.rawValue | VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue
            | VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue
        var wide = VkBufferUsageFlags2CreateInfoKHR()
        wide.sType = VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO_KHR
        wide.usage = VkFlags64(info.usage) | (device.decompression?.usage ?? 0)
        info.usage = VkBufferUsageFlags(truncatingIfNeeded: wide.usage)
        var buffer: VkBuffer?
        let made = withUnsafePointer(to: &wide) { wide in
            // Known with one extension only.
            if device.decompression?.kind == .ext { info.pNext = UnsafeRawPointer(wide) }
            return device.functions.createBuffer(device.device, &info, nil, &buffer)
        }
        guard made == VK_SUCCESS else { throw VulkanFailure(made, "vkCreateBuffer").error(.allocate, length: size) }
        do throws(StorageError) {
            var requirements = VkMemoryRequirements()
            device.functions.getBufferMemoryRequirements(device.device, buffer, &requirements)
            let allocation = try device.heap.allocate(
                requirements, required: [], wanted: [VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT])
            let bound = device.functions.bindBufferMemory(
                device.device, buffer, allocation.memory, allocation.offset)
            guard bound == VK_SUCCESS else {
                device.heap.free(allocation)
                throw VulkanFailure(bound, "vkBindBufferMemory").error(.allocate, length: size)
            }
            return (buffer!, allocation)
        } catch {
            device.functions.destroyBuffer(device.device, buffer, nil)
            throw error
        }
    }

    private static func makeSet(
        _ device: GPUDevice, _ pipeline: DecodePipeline, _ functions: ComputeFunctions
    ) throws(VulkanFailure) -> (VkDescriptorPool, VkDescriptorSet) {
        var size = VkDescriptorPoolSize()
        size.type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
        size.descriptorCount = UInt32(DecodePipeline.Binding.allCases.count)
        var pool: VkDescriptorPool?
        let made = withUnsafePointer(to: &size) { size in
            var info = VkDescriptorPoolCreateInfo()
            info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO
            info.maxSets = 1
            info.poolSizeCount = 1
            info.pPoolSizes = size
            return functions.createDescriptorPool(device.device, &info, nil, &pool)
        }
        try check(made, "vkCreateDescriptorPool")
        var layout: VkDescriptorSetLayout? = pipeline.setLayout
        var set: VkDescriptorSet?
        let allocated = withUnsafePointer(to: &layout) { layout in
            var info = VkDescriptorSetAllocateInfo()
            info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO
            info.descriptorPool = pool
            info.descriptorSetCount = 1
            info.pSetLayouts = layout
            return functions.allocateDescriptorSets(device.device, &info, &set)
        }
        guard allocated == VK_SUCCESS else {
            functions.destroyDescriptorPool(device.device, pool, nil)
            throw VulkanFailure(allocated, "vkAllocateDescriptorSets")
        }
        return (pool!, set!)
    }

    private func bind(_ functions: ComputeFunctions) {
        for binding in DecodePipeline.Binding.allCases {
            let (start, count) =
                switch binding {
                case .encoded: (Self.encodedStart, capacity.encodedBytes)
                case .decoded: (decodedStart, decodedBytes)
                case .pages: (pagesStart, pagesBytes)
                case .statuses: (statusesStart, statusesBytes)
                }
            var range = VkDescriptorBufferInfo()
            range.buffer = buffer
            range.offset = UInt64(start)
            range.range = UInt64(count)
            withUnsafePointer(to: &range) { range in
                var write = VkWriteDescriptorSet()
                write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET
                write.dstSet = set
                write.dstBinding = UInt32(binding.rawValue)
                write.descriptorCount = 1
                write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                write.pBufferInfo = range
                functions.updateDescriptorSets(device.device, 1, &write, 0, nil)
            }
        }
    }
}

import CVulkan
import Penstock
import Synchronization

/// A Vulkan buffer that requests read into and write from: one made by its device, or the application's.
///
/// A handle: copies share the same buffer. A buffer of the device's own is destroyed with the last of them; requests in
/// flight hold one.
///
/// Requests that are in flight at the same time must not share bytes that one of them changes: which of them wins would be up
/// to chance, and the validation layer would rightly report a hazard.
public struct GPUBuffer: Sendable {
    package let storage: Storage
    /// How many bytes the buffer holds.
    public let count: Int

    /// The device that the buffer is of.
    public var device: GPUDevice { storage.device }
    /// The `VkBuffer`.
    public var handle: OpaquePointer { storage.handle }

    /// A slice of the buffer: where a request's bytes go to or come from.
    ///
    /// It may lie outside the buffer: the request then ends with ``Penstock/StorageError/Code/invalidRange``.
    public subscript(range: Range<Int>) -> Slice { Slice(buffer: self, range: range) }

    /// The slice from `range`'s start to the end of the buffer.
    public subscript(range: PartialRangeFrom<Int>) -> Slice {
        Slice(buffer: self, range: range.lowerBound..<max(range.lowerBound, count))
    }

    /// The slice of the first bytes.
    public subscript(range: PartialRangeUpTo<Int>) -> Slice {
        Slice(buffer: self, range: min(0, range.upperBound)..<range.upperBound)
    }

    /// The whole buffer as a slice.
    public subscript(_: UnboundedRange) -> Slice { Slice(buffer: self, range: 0..<count) }

    /// A range of a ``GPUBuffer``.
    public struct Slice: Sendable {
        /// The buffer that the slice is of.
        public let buffer: GPUBuffer
        /// Which of the buffer's bytes, counted from its start.
        public let range: Range<Int>
        /// How many bytes the slice holds.
        public var count: Int { range.safeCount }
    }
}

extension GPUBuffer {
    /// The buffer itself, and how the host may use its memory.
    package final class Storage: SinkMemory, @unchecked Sendable {  // handles for any thread; `mayMap` is atomic
        package let device: GPUDevice
        package let handle: VkBuffer
        private let allocation: GPUHeap.Allocation?
        private let base: UnsafeMutableRawPointer?
        private let isCoherent: Bool
        private let mayMap: Atomic<Bool>

        /// A buffer of the device's own.
        init(_ device: GPUDevice, _ handle: VkBuffer, _ allocation: GPUHeap.Allocation) {
            self.device = device
            self.handle = handle
            self.allocation = allocation
            base = allocation.mapped
            isCoherent = allocation.type.has(VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)
            mayMap = Atomic(base != nil && device.landsDirectly)
        }

        /// The application's buffer; its memory is mapped at `base`, and coherent, or the host does not touch it.
        init(_ device: GPUDevice, _ handle: VkBuffer, base: UnsafeMutableRawPointer?) {
            self.device = device
            self.handle = handle
            allocation = nil
            self.base = base
            isCoherent = true
            mayMap = Atomic(base != nil && device.landsDirectly)
        }

        deinit {
            guard let allocation else { return }
            device.functions.destroyBuffer(device.device, handle, nil)
            device.heap.free(allocation)
        }

        package var mapped: UnsafeMutableRawPointer? { mayMap.load(ordering: .relaxed) ? base : nil }

        /// What the application has mapped may well be write-combined.
        package var isReadable: Bool { allocation?.type.has(VK_MEMORY_PROPERTY_HOST_CACHED_BIT) ?? false }

        package var sinkDevice: any SinkDevice { device }
        package func refuseHostWrites() { mayMap.store(false, ordering: .relaxed) }

        package func hostDidWrite(_ count: Int, at offset: UInt64) {
            guard !isCoherent, let allocation, count > 0 else { return }
            let unit = UInt64(device.physical.nonCoherentAtomSize)
            let start = (allocation.offset + offset) / unit * unit
            let end = (allocation.offset + offset + UInt64(count) + unit - 1) / unit * unit
            var range = VkMappedMemoryRange()
            range.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE
            range.memory = allocation.memory
            range.offset = start
            range.size = end > allocation.memorySize ? VK_WHOLE_SIZE : end - start
            device.note(device.functions.flushMappedMemoryRanges(device.device, 1, &range))
        }
    }

    /// Bytes of the buffer's own memory that the host sees; nil where it does not.
    package var mappedBytes: UnsafeMutableRawPointer? { storage.mapped }
}

extension GPUDevice {
    /// What a buffer is for, beside copies: bits of `VkBufferUsageFlags`.
    public typealias BufferUsage = UInt32

    /// Makes a buffer of `byteCount` bytes on the device, in memory that the host sees too where that is the same memory.
    ///
    /// - Parameters:
    ///   - byteCount: Its size.
    ///   - usage: What it is for, as `VkBufferUsageFlags`; copying in both directions is added.
    /// - Throws: ``Penstock/StorageError/Code/deviceMemory`` when the memory, or its budget, is used up.
    public func makeBuffer(byteCount: Int, usage: BufferUsage = 0) throws(StorageError) -> GPUBuffer {
        guard byteCount > 0 else {
            throw StorageError(
                .invalidArgument, .allocate, length: byteCount, message: "a buffer has at least one byte")
        }
        var handle: VkBuffer?
        do throws(VulkanFailure) {
            try check(
                createBuffer(
                    &handle, UInt64(byteCount),
                    usage | VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue | VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue),
                "vkCreateBuffer")
        } catch {
            throw error.error(.allocate, length: byteCount)
        }
        do throws(StorageError) {
            var requirements = VkMemoryRequirements()
            functions.getBufferMemoryRequirements(device, handle, &requirements)
            let allocation = try heap.allocate(
                requirements, required: [],
                wanted: landsDirectly && physical.isVisibleToHost
                    ? [
                        VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
                        VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                    ] : [VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT])
            let result = functions.bindBufferMemory(device, handle, allocation.memory, allocation.offset)
            guard result == VK_SUCCESS else {
                heap.free(allocation)
                throw VulkanFailure(result, "vkBindBufferMemory").error(.allocate, length: byteCount)
            }
            return GPUBuffer(storage: .init(self, handle!, allocation), count: byteCount)
        } catch {
            functions.destroyBuffer(device, handle, nil)
            throw error
        }
    }

    /// Uses a buffer of the application's, which stays its own.
    ///
    /// - Parameters:
    ///   - buffer: The `VkBuffer`, bound to memory and made with `VK_BUFFER_USAGE_TRANSFER_DST_BIT` for reads from files,
    ///     `VK_BUFFER_USAGE_TRANSFER_SRC_BIT` for writes.
    ///   - byteCount: Its size.
    ///   - mapped: Where its memory is mapped, if it is, and is `HOST_COHERENT`: files are then read straight into it.
    public func adopt(
        buffer: OpaquePointer, byteCount: Int, mapped: UnsafeMutableRawPointer? = nil
    ) -> GPUBuffer {
        GPUBuffer(storage: .init(self, buffer, base: mapped), count: byteCount)
    }

    func createBuffer(
        _ handle: inout VkBuffer?, _ size: UInt64, _ usage: BufferUsage, next: UnsafeRawPointer? = nil
    ) -> VkResult {
        var info = VkBufferCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO
        info.pNext = next
        info.size = size
        info.usage = usage
        return sharingFamilies.withUnsafeBufferPointer { families in
            if families.count > 1 {
                info.sharingMode = VK_SHARING_MODE_CONCURRENT
                info.queueFamilyIndexCount = UInt32(families.count)
                info.pQueueFamilyIndices = families.baseAddress
            }
            return functions.createBuffer(device, &info, nil, &handle)
        }
    }
}

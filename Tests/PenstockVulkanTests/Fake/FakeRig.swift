import CVulkan
import FakeVulkan
import PenstockVulkan
import TestSupport

/// An adopted device of a fake, and short ways to use it.
///
/// `@unchecked Sendable`: handles are numbers, and the fake is made for many threads.
struct FakeRig: @unchecked Sendable {
    struct Memory {
        let handle: VkDeviceMemory
        let bytes: UnsafeMutableRawPointer?
    }

    struct Buffer {
        let handle: VkBuffer
        let memory: Memory
    }

    let fake: FakeVulkan
    let handles: FakeVulkan.Handles
    let vk: DeviceFunctions
    var device: VkDevice { handles.device }

    init(_ configuration: FakeVulkan.Configuration = .with { $0.execution = .manual }) throws {
        let fake = FakeVulkan(configuration)
        self.fake = fake
        handles = fake.makeHandles()
        let instance = try InstanceFunctions(handles.instance, fake.getInstanceProcAddr)
        vk = try DeviceFunctions(handles.device, instance.getDeviceProcAddr)
    }

    /// The rule of each violation, without the function and the message.
    var rules: [String] {
        fake.violations.map { violation in
            violation.split(separator: ": ", maxSplits: 2).dropFirst().first.map(String.init) ?? violation
        }
    }

    // MARK: Memory

    func allocate(_ size: UInt64, type: UInt32, hasAddresses: Bool = false) -> Memory {
        var flags = VkMemoryAllocateFlagsInfo()
        flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO
        flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT.rawValue
        var info = VkMemoryAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
        info.allocationSize = size
        info.memoryTypeIndex = type
        var memory: VkDeviceMemory?
        withUnsafePointer(to: &flags) { flags in
            if hasAddresses { info.pNext = UnsafeRawPointer(flags) }
            precondition(vk.allocateMemory(device, &info, nil, &memory) == VK_SUCCESS)
        }
        var bytes: UnsafeMutableRawPointer?
        if fake.configuration.memoryTypes[Int(type)].flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT.rawValue != 0 {
            precondition(vk.mapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &bytes) == VK_SUCCESS)
        }
        return Memory(handle: memory!, bytes: bytes)
    }

    func importing(_ pointer: UnsafeMutableRawPointer, _ size: UInt64, type: UInt32) -> (VkResult, VkDeviceMemory?) {
        var host = VkImportMemoryHostPointerInfoEXT()
        host.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT
        host.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT
        host.pHostPointer = pointer
        return withUnsafePointer(to: &host) { host in
            var info = VkMemoryAllocateInfo()
            info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
            info.pNext = UnsafeRawPointer(host)
            info.allocationSize = size
            info.memoryTypeIndex = type
            var memory: VkDeviceMemory?
            return (vk.allocateMemory(device, &info, nil, &memory), memory)
        }
    }

    /// A buffer with memory of its own: type 0 is the device's, type 1 the host's.
    func buffer(
        _ size: UInt64, type: UInt32,
        usage: VkBufferUsageFlags = VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue
            | VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue,
        isBound: Bool = true
    ) -> Buffer {
        var info = VkBufferCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO
        info.size = size
        info.usage = usage
        var buffer: VkBuffer?
        precondition(vk.createBuffer(device, &info, nil, &buffer) == VK_SUCCESS)
        var needs = VkMemoryRequirements()
        vk.getBufferMemoryRequirements(device, buffer, &needs)
        let memory = allocate(needs.size, type: type)
        if isBound { precondition(vk.bindBufferMemory(device, buffer, memory.handle, 0) == VK_SUCCESS) }
        return Buffer(handle: buffer!, memory: memory)
    }

    func destroy(_ buffer: Buffer) {
        vk.destroyBuffer(device, buffer.handle, nil)
        vk.freeMemory(device, buffer.memory.handle, nil)
    }

    func image(
        _ width: UInt32, _ height: UInt32, mips: UInt32 = 1, layers: UInt32 = 1,
        format: VkFormat = VK_FORMAT_R8G8B8A8_UNORM
    ) -> (handle: VkImage, memory: Memory) {
        var info = VkImageCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO
        info.imageType = VK_IMAGE_TYPE_2D
        info.format = format
        info.extent = VkExtent3D(width: width, height: height, depth: 1)
        info.mipLevels = mips
        info.arrayLayers = layers
        info.samples = VK_SAMPLE_COUNT_1_BIT
        info.usage =
            VK_IMAGE_USAGE_TRANSFER_SRC_BIT.rawValue | VK_IMAGE_USAGE_TRANSFER_DST_BIT.rawValue
            | VK_IMAGE_USAGE_SAMPLED_BIT.rawValue
        var image: VkImage?
        precondition(vk.createImage(device, &info, nil, &image) == VK_SUCCESS)
        var needs = VkMemoryRequirements()
        vk.getImageMemoryRequirements(device, image, &needs)
        let memory = allocate(needs.size, type: 0)
        precondition(vk.bindImageMemory(device, image, memory.handle, 0) == VK_SUCCESS)
        return (image!, memory)
    }

    // MARK: Commands

    func pool(family: UInt32 = 0) -> VkCommandPool {
        var info = VkCommandPoolCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO
        info.queueFamilyIndex = family
        var pool: VkCommandPool?
        precondition(vk.createCommandPool(device, &info, nil, &pool) == VK_SUCCESS)
        return pool!
    }

    /// A command buffer from a pool, with what the body records.
    func commands(_ pool: VkCommandPool, _ body: (VkCommandBuffer) -> Void) -> VkCommandBuffer {
        var info = VkCommandBufferAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO
        info.commandPool = pool
        info.commandBufferCount = 1
        var buffer: VkCommandBuffer?
        precondition(vk.allocateCommandBuffers(device, &info, &buffer) == VK_SUCCESS)
        begin(buffer!)
        body(buffer!)
        _ = vk.endCommandBuffer(buffer)
        return buffer!
    }

    func begin(_ buffer: VkCommandBuffer) {
        var begin = VkCommandBufferBeginInfo()
        begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO
        begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT.rawValue
        _ = vk.beginCommandBuffer(buffer, &begin)
    }

    func copy(
        _ commands: VkCommandBuffer, _ source: Buffer, _ destination: Buffer,
        _ regions: [(from: UInt64, to: UInt64, size: UInt64)]
    ) {
        let regions = regions.map { region in
            var copy = VkBufferCopy2()
            copy.sType = VK_STRUCTURE_TYPE_BUFFER_COPY_2
            copy.srcOffset = region.from
            copy.dstOffset = region.to
            copy.size = region.size
            return copy
        }
        regions.withUnsafeBufferPointer { regions in
            var info = VkCopyBufferInfo2()
            info.sType = VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2
            info.srcBuffer = source.handle
            info.dstBuffer = destination.handle
            info.regionCount = UInt32(regions.count)
            info.pRegions = regions.baseAddress
            vk.cmdCopyBuffer2(commands, &info)
        }
    }

    func region(
        _ width: UInt32, _ height: UInt32, x: Int32 = 0, y: Int32 = 0, mip: UInt32 = 0, layers: UInt32 = 1,
        bufferOffset: UInt64 = 0, rowLength: UInt32 = 0
    ) -> VkBufferImageCopy2 {
        var region = VkBufferImageCopy2()
        region.sType = VK_STRUCTURE_TYPE_BUFFER_IMAGE_COPY_2
        region.bufferOffset = bufferOffset
        region.bufferRowLength = rowLength
        region.imageSubresource = VkImageSubresourceLayers(
            aspectMask: VK_IMAGE_ASPECT_COLOR_BIT.rawValue, mipLevel: mip, baseArrayLayer: 0, layerCount: layers)
        region.imageOffset = VkOffset3D(x: x, y: y, z: 0)
        region.imageExtent = VkExtent3D(width: width, height: height, depth: 1)
        return region
    }

    func copy(_ commands: VkCommandBuffer, _ source: Buffer, to image: VkImage, _ regions: [VkBufferImageCopy2]) {
        regions.withUnsafeBufferPointer { regions in
            var info = VkCopyBufferToImageInfo2()
            info.sType = VK_STRUCTURE_TYPE_COPY_BUFFER_TO_IMAGE_INFO_2
            info.srcBuffer = source.handle
            info.dstImage = image
            info.dstImageLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL
            info.regionCount = UInt32(regions.count)
            info.pRegions = regions.baseAddress
            vk.cmdCopyBufferToImage2(commands, &info)
        }
    }

    func copy(_ commands: VkCommandBuffer, from image: VkImage, _ buffer: Buffer, _ regions: [VkBufferImageCopy2]) {
        regions.withUnsafeBufferPointer { regions in
            var info = VkCopyImageToBufferInfo2()
            info.sType = VK_STRUCTURE_TYPE_COPY_IMAGE_TO_BUFFER_INFO_2
            info.srcImage = image
            info.srcImageLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL
            info.dstBuffer = buffer.handle
            info.regionCount = UInt32(regions.count)
            info.pRegions = regions.baseAddress
            vk.cmdCopyImageToBuffer2(commands, &info)
        }
    }

    /// A barrier over all memory, from copies to copies unless told otherwise.
    func barrier(
        _ commands: VkCommandBuffer, from: UInt64 = VK_PIPELINE_STAGE_2_COPY_BIT,
        wrote: UInt64 = VK_ACCESS_2_TRANSFER_WRITE_BIT, to: UInt64 = VK_PIPELINE_STAGE_2_COPY_BIT,
        access: UInt64 = VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT
    ) {
        var barrier = VkMemoryBarrier2()
        barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2
        barrier.srcStageMask = from
        barrier.srcAccessMask = wrote
        barrier.dstStageMask = to
        barrier.dstAccessMask = access
        withUnsafePointer(to: &barrier) { barrier in
            var info = VkDependencyInfo()
            info.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO
            info.memoryBarrierCount = 1
            info.pMemoryBarriers = barrier
            vk.cmdPipelineBarrier2(commands, &info)
        }
    }

    func hostBarrier(_ commands: VkCommandBuffer) {
        barrier(commands, to: VK_PIPELINE_STAGE_2_HOST_BIT, access: VK_ACCESS_2_HOST_READ_BIT)
    }

    /// Moves every subresource of the image from one layout to another, between copies.
    func transition(
        _ commands: VkCommandBuffer, _ image: VkImage, _ old: VkImageLayout, _ new: VkImageLayout,
        families: (UInt32, UInt32) = (VK_QUEUE_FAMILY_IGNORED, VK_QUEUE_FAMILY_IGNORED)
    ) {
        var barrier = VkImageMemoryBarrier2()
        barrier.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2
        barrier.srcStageMask = VK_PIPELINE_STAGE_2_COPY_BIT
        barrier.srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT
        barrier.dstStageMask = VK_PIPELINE_STAGE_2_COPY_BIT
        barrier.dstAccessMask = VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT
        barrier.oldLayout = old
        barrier.newLayout = new
        barrier.srcQueueFamilyIndex = families.0
        barrier.dstQueueFamilyIndex = families.1
        barrier.image = image
        barrier.subresourceRange = VkImageSubresourceRange(
            aspectMask: VK_IMAGE_ASPECT_COLOR_BIT.rawValue, baseMipLevel: 0, levelCount: VK_REMAINING_MIP_LEVELS,
            baseArrayLayer: 0, layerCount: VK_REMAINING_ARRAY_LAYERS)
        withUnsafePointer(to: &barrier) { barrier in
            var info = VkDependencyInfo()
            info.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO
            info.imageMemoryBarrierCount = 1
            info.pImageMemoryBarriers = barrier
            vk.cmdPipelineBarrier2(commands, &info)
        }
    }

    // MARK: Submission

    func semaphore(_ value: UInt64 = 0) -> VkSemaphore {
        var type = VkSemaphoreTypeCreateInfo()
        type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO
        type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE
        type.initialValue = value
        return withUnsafePointer(to: &type) { type in
            var info = VkSemaphoreCreateInfo()
            info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO
            info.pNext = UnsafeRawPointer(type)
            var semaphore: VkSemaphore?
            precondition(vk.createSemaphore(device, &info, nil, &semaphore) == VK_SUCCESS)
            return semaphore!
        }
    }

    @discardableResult
    func submit(
        _ commands: VkCommandBuffer? = nil, on queue: VkQueue? = nil, wait: (VkSemaphore, UInt64)? = nil,
        signal: (VkSemaphore, UInt64)? = nil
    ) -> VkResult {
        func info(_ operation: (VkSemaphore, UInt64)?) -> [VkSemaphoreSubmitInfo] {
            guard let operation else { return [] }
            var info = VkSemaphoreSubmitInfo()
            info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO
            info.semaphore = operation.0
            info.value = operation.1
            info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT
            return [info]
        }
        let buffers = commands.map { commands in
            var info = VkCommandBufferSubmitInfo()
            info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO
            info.commandBuffer = commands
            return [info]
        }
        return (buffers ?? []).withUnsafeBufferPointer { buffers in
            info(wait).withUnsafeBufferPointer { waits in
                info(signal).withUnsafeBufferPointer { signals in
                    var submit = VkSubmitInfo2()
                    submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2
                    submit.waitSemaphoreInfoCount = UInt32(waits.count)
                    submit.pWaitSemaphoreInfos = waits.baseAddress
                    submit.commandBufferInfoCount = UInt32(buffers.count)
                    submit.pCommandBufferInfos = buffers.baseAddress
                    submit.signalSemaphoreInfoCount = UInt32(signals.count)
                    submit.pSignalSemaphoreInfos = signals.baseAddress
                    return vk.queueSubmit2(queue ?? handles.queue, 1, &submit, nil)
                }
            }
        }
    }

    func value(_ semaphore: VkSemaphore) -> UInt64 {
        var value: UInt64 = 0
        _ = vk.getSemaphoreCounterValue(device, semaphore, &value)
        return value
    }

    func wait(_ semaphore: VkSemaphore, _ value: UInt64, timeout: UInt64 = .max) -> VkResult {
        var semaphore: VkSemaphore? = semaphore
        var value = value
        return withUnsafePointer(to: &semaphore) { semaphore in
            withUnsafePointer(to: &value) { value in
                var info = VkSemaphoreWaitInfo()
                info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO
                info.semaphoreCount = 1
                info.pSemaphores = semaphore
                info.pValues = value
                return vk.waitSemaphores(device, &info, timeout)
            }
        }
    }

    func signal(_ semaphore: VkSemaphore, _ value: UInt64) -> VkResult {
        var info = VkSemaphoreSignalInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO
        info.semaphore = semaphore
        info.value = value
        return vk.signalSemaphore(device, &info)
    }
}

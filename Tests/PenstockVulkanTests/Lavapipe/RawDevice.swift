import CVulkan
import Glibc
import PenstockVulkan
import TestSupport

/// Vulkan by hand on a device, for the part that an application plays.
struct RawDevice: @unchecked Sendable {  // handles for any thread; the caller sees to command buffers and the queue
    struct Buffer: @unchecked Sendable {  // as above
        let handle: VkBuffer
        let memory: VkDeviceMemory
        let bytes: UnsafeMutableRawBufferPointer
    }

    struct Commands: @unchecked Sendable {  // as above
        let pool: VkCommandPool
        let buffer: VkCommandBuffer
    }

    /// A timeline semaphore.
    struct Timeline: @unchecked Sendable {  // as above
        let handle: VkSemaphore

        func at(_ value: UInt64) -> GPUSemaphorePoint { GPUSemaphorePoint(handle, value) }
    }

    let device: VkDevice
    let queue: VkQueue
    let family: UInt32
    let functions: DeviceFunctions
    private let physical: PhysicalDevice

    init(_ gpu: GPUDevice) {
        device = gpu.device
        queue = gpu.queue
        family = gpu.queueFamily
        functions = gpu.functions
        physical = gpu.physical
    }

    // MARK: Objects

    /// A mapped buffer.
    func makeBuffer(
        _ size: Int,
        usage: VkBufferUsageFlags = VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue
            | VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue
    ) -> Buffer {
        var info = VkBufferCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO
        info.size = UInt64(size)
        info.usage = usage
        var buffer: VkBuffer?
        precondition(functions.createBuffer(device, &info, nil, &buffer) == VK_SUCCESS)
        var needs = VkMemoryRequirements()
        functions.getBufferMemoryRequirements(device, buffer, &needs)
        let (memory, base) = allocate(needs)
        precondition(functions.bindBufferMemory(device, buffer, memory, 0) == VK_SUCCESS)
        return Buffer(
            handle: buffer!, memory: memory, bytes: UnsafeMutableRawBufferPointer(start: base, count: size))
    }

    private func allocate(_ needs: VkMemoryRequirements) -> (VkDeviceMemory, UnsafeMutableRawPointer) {
        var info = VkMemoryAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
        info.allocationSize = needs.size
        let type = physical.memoryType(
            needs.memoryTypeBits,
            required: [VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, VK_MEMORY_PROPERTY_HOST_COHERENT_BIT],
            wanted: [VK_MEMORY_PROPERTY_HOST_CACHED_BIT])
        info.memoryTypeIndex = type!.index
        var memory: VkDeviceMemory?
        precondition(functions.allocateMemory(device, &info, nil, &memory) == VK_SUCCESS)
        var base: UnsafeMutableRawPointer?
        precondition(functions.mapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &base) == VK_SUCCESS)
        return (memory!, base!)
    }

    func destroy(_ buffer: Buffer) {
        functions.destroyBuffer(device, buffer.handle, nil)
        functions.freeMemory(device, buffer.memory, nil)
    }

    func makeTimeline(at value: UInt64 = 0) -> Timeline {
        var type = VkSemaphoreTypeCreateInfo()
        type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO
        type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE
        type.initialValue = value
        var semaphore: VkSemaphore?
        let result = withUnsafePointer(to: &type) { type in
            var info = VkSemaphoreCreateInfo()
            info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO
            info.pNext = UnsafeRawPointer(type)
            return functions.createSemaphore(device, &info, nil, &semaphore)
        }
        precondition(result == VK_SUCCESS)
        return Timeline(handle: semaphore!)
    }

    func destroy(_ timeline: Timeline) { functions.destroySemaphore(device, timeline.handle, nil) }

    func makeCommands(allocator: UnsafePointer<VkAllocationCallbacks>? = nil) -> Commands {
        var info = VkCommandPoolCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO
        info.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT.rawValue
        info.queueFamilyIndex = family
        var pool: VkCommandPool?
        precondition(functions.createCommandPool(device, &info, allocator, &pool) == VK_SUCCESS)
        return Commands(pool: pool!, buffer: allocateCommands(pool!))
    }

    func allocateCommands(_ pool: VkCommandPool) -> VkCommandBuffer {
        var info = VkCommandBufferAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO
        info.commandPool = pool
        info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY
        info.commandBufferCount = 1
        var buffer: VkCommandBuffer?
        precondition(functions.allocateCommandBuffers(device, &info, &buffer) == VK_SUCCESS)
        return buffer!
    }

    func destroy(_ commands: Commands, allocator: UnsafePointer<VkAllocationCallbacks>? = nil) {
        functions.destroyCommandPool(device, commands.pool, allocator)
    }

    // MARK: Commands

    func begin(_ commands: Commands) {
        var info = VkCommandBufferBeginInfo()
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO
        info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT.rawValue
        precondition(functions.beginCommandBuffer(commands.buffer, &info) == VK_SUCCESS)
    }

    func end(_ commands: Commands) { precondition(functions.endCommandBuffer(commands.buffer) == VK_SUCCESS) }

    func copy(
        _ commands: Commands, from source: VkBuffer, _ sourceOffset: Int = 0, to destination: VkBuffer,
        _ offset: Int = 0, count: Int
    ) {
        var region = VkBufferCopy2()
        region.sType = VK_STRUCTURE_TYPE_BUFFER_COPY_2
        region.srcOffset = UInt64(sourceOffset)
        region.dstOffset = UInt64(offset)
        region.size = UInt64(count)
        withUnsafePointer(to: &region) { region in
            var info = VkCopyBufferInfo2()
            info.sType = VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2
            info.srcBuffer = source
            info.dstBuffer = destination
            info.regionCount = 1
            info.pRegions = region
            functions.cmdCopyBuffer2(commands.buffer, &info)
        }
    }

    /// Everything before, then everything after, the host's reads included.
    func barrier(_ commands: Commands) {
        var memory = VkMemoryBarrier2()
        memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2
        memory.srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT
        memory.srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT
        memory.dstStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_2_HOST_BIT
        memory.dstAccessMask =
            VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT | VK_ACCESS_2_HOST_READ_BIT
        withUnsafePointer(to: &memory) { memory in
            var info = VkDependencyInfo()
            info.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO
            info.memoryBarrierCount = 1
            info.pMemoryBarriers = memory
            functions.cmdPipelineBarrier2(commands.buffer, &info)
        }
    }

    // MARK: Queue and semaphores

    /// `vkQueueSubmit2`; the caller has the queue to itself.
    @discardableResult
    func submit(
        _ commands: Commands?, after: GPUSemaphorePoint? = nil, signal: [GPUSemaphorePoint] = []
    ) -> VkResult {
        func semaphoreInfo(_ point: GPUSemaphorePoint) -> VkSemaphoreSubmitInfo {
            var info = VkSemaphoreSubmitInfo()
            info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO
            info.semaphore = point.semaphore
            info.value = point.value
            info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT
            return info
        }
        var command = VkCommandBufferSubmitInfo()
        command.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO
        command.commandBuffer = commands?.buffer
        let waits = [after].compactMap { $0 }.map(semaphoreInfo)
        let signals = signal.map(semaphoreInfo)
        return withUnsafePointer(to: &command) { command in
            waits.withUnsafeBufferPointer { waits in
                signals.withUnsafeBufferPointer { signals in
                    var info = VkSubmitInfo2()
                    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2
                    info.commandBufferInfoCount = commands == nil ? 0 : 1
                    info.pCommandBufferInfos = command
                    info.waitSemaphoreInfoCount = UInt32(waits.count)
                    info.pWaitSemaphoreInfos = waits.baseAddress
                    info.signalSemaphoreInfoCount = UInt32(signals.count)
                    info.pSignalSemaphoreInfos = signals.baseAddress
                    return functions.queueSubmit2(queue, 1, &info, nil)
                }
            }
        }
    }

    func value(of timeline: Timeline) -> UInt64? {
        var value: UInt64 = 0
        return functions.getSemaphoreCounterValue(device, timeline.handle, &value) == VK_SUCCESS ? value : nil
    }

    @discardableResult
    func signal(_ point: GPUSemaphorePoint) -> VkResult {
        var info = VkSemaphoreSignalInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO
        info.semaphore = point.semaphore
        info.value = point.value
        return functions.signalSemaphore(device, &info)
    }

    /// Waits on the calling thread, for so many nanoseconds at most.
    func wait(for point: GPUSemaphorePoint, _ nanoseconds: UInt64 = 10_000_000_000) -> VkResult {
        var semaphore: VkSemaphore? = point.semaphore
        var value = point.value
        return withUnsafePointer(to: &semaphore) { semaphore in
            withUnsafePointer(to: &value) { value in
                var info = VkSemaphoreWaitInfo()
                info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO
                info.semaphoreCount = 1
                info.pSemaphores = semaphore
                info.pValues = value
                return functions.waitSemaphores(device, &info, nanoseconds)
            }
        }
    }
}

import CVulkan

/// Command buffers for a few submissions at a time, each from a pool of its own that is reset whole.
struct CommandRing: ~Copyable {
    struct Place {
        var pool: VkCommandPool
        var buffer: VkCommandBuffer
    }

    /// Submissions on the device at once, at most: more add latency, and no throughput.
    static let capacity = 8

    private let places: [Place]
    private var free: [Int]

    init(_ device: GPUDevice) throws(VulkanFailure) {
        var places: [Place] = []
        do throws(VulkanFailure) {
            for _ in 0..<Self.capacity { places.append(try Self.makePlace(device)) }
        } catch {
            for place in places { device.functions.destroyCommandPool(device.device, place.pool, nil) }
            throw error
        }
        self.places = places
        free = Array((0..<Self.capacity).reversed())
    }

    private static func makePlace(_ device: GPUDevice) throws(VulkanFailure) -> Place {
        var info = VkCommandPoolCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO
        info.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT.rawValue
        info.queueFamilyIndex = device.queueFamily
        var pool: VkCommandPool?
        try check(device.functions.createCommandPool(device.device, &info, nil, &pool), "vkCreateCommandPool")
        var allocate = VkCommandBufferAllocateInfo()
        allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO
        allocate.commandPool = pool
        allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY
        allocate.commandBufferCount = 1
        var buffer: VkCommandBuffer?
        let result = device.functions.allocateCommandBuffers(device.device, &allocate, &buffer)
        guard result == VK_SUCCESS else {
            device.functions.destroyCommandPool(device.device, pool, nil)
            throw VulkanFailure(result, "vkAllocateCommandBuffers")
        }
        return Place(pool: pool!, buffer: buffer!)
    }

    var hasFree: Bool { !free.isEmpty }

    /// A command buffer that has begun.
    mutating func begin(_ device: GPUDevice) throws(VulkanFailure) -> (index: Int, buffer: VkCommandBuffer) {
        let index = free.removeLast()
        let place = places[index]
        do throws(VulkanFailure) {
            try check(device.functions.resetCommandPool(device.device, place.pool, 0), "vkResetCommandPool")
            var info = VkCommandBufferBeginInfo()
            info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO
            info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT.rawValue
            try check(device.functions.beginCommandBuffer(place.buffer, &info), "vkBeginCommandBuffer")
        } catch {
            free.append(index)
            throw error
        }
        return (index, place.buffer)
    }

    /// The device has done with the command buffer, or never saw it.
    mutating func giveBack(_ index: Int) { free.append(index) }

    /// Nothing is in flight.
    func destroy(_ device: GPUDevice) {
        for place in places { device.functions.destroyCommandPool(device.device, place.pool, nil) }
    }
}

import CVulkan

final class FakeCommandPool: FakeDeviceObject {
    override class var kind: FakeVulkan.Kind { .commandPool }

    let family: UInt32
    let mayResetSingly: Bool
    var buffers: [FakeCommandBuffer] = []

    init(_ fake: FakeVulkan, _ device: FakeDevice, family: UInt32, flags: VkCommandPoolCreateFlags) {
        self.family = family
        mayResetSingly = flags & VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT.rawValue != 0
        super.init(fake, device)
    }

    var isPending: Bool { buffers.contains { $0.inFlight > 0 } }
}

final class FakeCommandBuffer: FakeDeviceObject {
    override class var kind: FakeVulkan.Kind { .commandBuffer }

    enum State { case initial, recording, executable, invalid }

    unowned let pool: FakeCommandPool
    var state = State.initial
    var isOneTime = false
    var mayBePendingTwice = false
    var commands: [Command] = []
    /// What the commands use, by handle.
    var uses: [UInt: FakeObject] = [:]
    // What is bound while it is recorded.
    var pipeline: FakePipeline?
    var set: FakeDescriptorSet?
    var constants: [UInt8] = []

    init(_ fake: FakeVulkan, _ pool: FakeCommandPool) {
        self.pool = pool
        super.init(fake, pool.device)
    }

    override var alone: [FakeObject] { [self, pool] }

    func clear(_ state: State) {
        self.state = state
        commands.removeAll(keepingCapacity: true)
        uses.removeAll(keepingCapacity: true)
        pipeline = nil
        set = nil
        constants = []
    }

    func record(_ command: Command, using objects: FakeObject?...) {
        commands.append(command)
        for case let object? in objects { uses[object.handle] = object }
    }
}

/// What a command buffer holds.
enum Command {
    case barrier(RecordedBarrier)
    case copyBuffer(FakeBuffer, FakeBuffer, [BufferRegion])
    case bufferToImage(FakeBuffer, FakeImage, VkImageLayout, [VkBufferImageCopy2])
    case imageToBuffer(FakeImage, VkImageLayout, FakeBuffer, [VkBufferImageCopy2])
    case fill(FakeBuffer, Range<UInt64>, UInt32)
    case dispatch([FakeVulkan.BoundRange], [UInt8])
    case decompress([FakeVulkan.DecompressedRegion], Work)
}

struct BufferRegion {
    let source: Range<UInt64>
    let destination: Range<UInt64>
}

extension FakeVulkan {
    static let vkCreateCommandPool: PFN_vkCreateCommandPool = { device, info, _, result in
        command("vkCreateCommandPool", device, FakeDevice.self) { fake, device in
            guard let info = info?.pointee, let result else { return VK_ERROR_UNKNOWN }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, "VkCommandPoolCreateInfo")
            fake.require(
                Int(info.queueFamilyIndex) < fake.configuration.queueFamilies.count,
                "VUID-vkCreateCommandPool-queueFamilyIndex-01937", "no queue family \(info.queueFamilyIndex)")
            let pool = FakeCommandPool(fake, device, family: info.queueFamilyIndex, flags: info.flags)
            fake.born(pool)
            result.pointee = pool.pointer
            return VK_SUCCESS
        }
    }

    static let vkDestroyCommandPool: PFN_vkDestroyCommandPool = { device, pool, _ in
        guard pool != nil else { return }
        call("vkDestroyCommandPool", device, FakeDevice.self, alone: pool, otherwise: ()) { fake, device in
            guard let pool = fake.resolve(pool, FakeCommandPool.self, of: device) else { return }
            fake.require(
                !pool.isPending, "VUID-vkDestroyCommandPool-commandPool-00041", "\(pool.name) has commands in flight")
            guard fake.die(pool) else { return }
            for buffer in pool.buffers {
                buffer.inFlight = 0
                fake.die(buffer)
            }
        }
    }

    static let vkResetCommandPool: PFN_vkResetCommandPool = { device, pool, _ in
        command("vkResetCommandPool", device, FakeDevice.self, alone: pool) { fake, device in
            guard let pool = fake.resolve(pool, FakeCommandPool.self, of: device) else { return VK_ERROR_UNKNOWN }
            fake.require(
                !pool.isPending, "VUID-vkResetCommandPool-commandPool-00040", "\(pool.name) has commands in flight")
            for buffer in pool.buffers { buffer.clear(.initial) }
            return VK_SUCCESS
        }
    }

    static let vkAllocateCommandBuffers: PFN_vkAllocateCommandBuffers = { device, info, result in
        command("vkAllocateCommandBuffers", device, FakeDevice.self, alone: info?.pointee.commandPool) { fake, device in
            guard let info = info?.pointee, let result,
                let pool = fake.resolve(info.commandPool, FakeCommandPool.self, of: device)
            else { return VK_ERROR_UNKNOWN }
            fake.checkType(
                info.sType, VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, "VkCommandBufferAllocateInfo")
            fake.require(
                info.commandBufferCount > 0,
                "VUID-vkAllocateCommandBuffers-pAllocateInfo::commandBufferCount-arraylength",
                "no command buffers asked for")
            fake.require(
                info.level == VK_COMMAND_BUFFER_LEVEL_PRIMARY, "level", "secondary command buffers are not modelled")
            for index in 0..<Int(info.commandBufferCount) {
                let buffer = FakeCommandBuffer(fake, pool)
                fake.born(buffer)
                pool.buffers.append(buffer)
                result[index] = buffer.pointer
            }
            return VK_SUCCESS
        }
    }

    static let vkBeginCommandBuffer: PFN_vkBeginCommandBuffer = { buffer, info in
        command("vkBeginCommandBuffer", buffer, FakeCommandBuffer.self) { fake, buffer in
            fake.require(
                buffer.inFlight == 0 && buffer.state != .recording, "VUID-vkBeginCommandBuffer-commandBuffer-00049",
                "\(buffer.name) is recording or in flight")
            fake.require(
                buffer.state == .initial || buffer.pool.mayResetSingly, "VUID-vkBeginCommandBuffer-commandBuffer-00050",
                "\(buffer.name) is not reset, and its pool does not allow it to be reset alone")
            if let type = info?.pointee.sType {
                fake.checkType(type, VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, "VkCommandBufferBeginInfo")
            }
            let flags = info?.pointee.flags ?? 0
            buffer.clear(.recording)
            buffer.isOneTime = flags & VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT.rawValue != 0
            buffer.mayBePendingTwice = flags & VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT.rawValue != 0
            return VK_SUCCESS
        }
    }

    static let vkEndCommandBuffer: PFN_vkEndCommandBuffer = { buffer in
        command("vkEndCommandBuffer", buffer, FakeCommandBuffer.self) { fake, buffer in
            fake.require(
                buffer.state == .recording, "VUID-vkEndCommandBuffer-commandBuffer-00059",
                "\(buffer.name) is not recording")
            buffer.state = .executable
            return VK_SUCCESS
        }
    }

    /// Whether a command may be recorded now.
    func checkRecording(_ buffer: FakeCommandBuffer) -> Bool {
        require(
            buffer.state == .recording, "VUID-\(function)-commandBuffer-recording", "\(buffer.name) is not recording")
    }

    func family(of buffer: FakeCommandBuffer) -> QueueFamily {
        let families = configuration.queueFamilies
        return families[min(Int(buffer.pool.family), families.count - 1)]
    }
}

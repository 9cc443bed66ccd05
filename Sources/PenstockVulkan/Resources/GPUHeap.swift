import CVulkan
import Penstock

/// The memory that a device's own buffers and images are made of.
final class GPUHeap: @unchecked Sendable {  // the device's handle is for any thread
    struct Allocation: @unchecked Sendable {  // as above
        fileprivate let place: BlockList.Place
        let memory: VkDeviceMemory
        /// Bytes of the whole memory object.
        let memorySize: UInt64
        let type: PhysicalDevice.MemoryType
        /// Where the host sees the allocation, if it does.
        let mapped: UnsafeMutableRawPointer?

        var offset: UInt64 { UInt64(place.range.lowerBound) }
        var size: UInt64 { UInt64(place.range.count) }
    }

    fileprivate struct Block {
        var memory: VkDeviceMemory
        var size: Int
        var mapped: UnsafeMutableRawPointer?
    }

    fileprivate struct State: @unchecked Sendable {  // as above
        var list: BlockList
        var blocks: [Int: Block] = [:]
        /// Bytes of all blocks.
        var byteCount = 0
    }

    private let device: VkDevice
    private let functions: DeviceFunctions
    private let instanceFunctions: InstanceFunctions
    private let physical: PhysicalDevice
    private let hasMemoryBudget: Bool
    private let configuredBudget: Int?
    /// Whether buffers may have addresses, which their memory has to be made for.
    private let hasAddresses: Bool
    private let state: Locked<State>

    init(
        device: VkDevice, functions: DeviceFunctions, instanceFunctions: InstanceFunctions, physical: PhysicalDevice,
        hasMemoryBudget: Bool, configuredBudget: Int?, hasAddresses: Bool
    ) {
        self.device = device
        self.functions = functions
        self.instanceFunctions = instanceFunctions
        self.physical = physical
        self.hasMemoryBudget = hasMemoryBudget
        self.configuredBudget = configuredBudget
        self.hasAddresses = hasAddresses
        // What is shared must not use up a small budget at once.
        let blockSize = min(64 << 20, max(1 << 20, (configuredBudget ?? .max) / 8))
        let list = BlockList(
            bufferImageGranularity: physical.bufferImageGranularity, blockSize: blockSize, dedicatedAbove: blockSize / 4
        )
        state = Locked(State(list: list))
    }

    /// Nothing is allocated any more.
    func destroy() {
        state.withLock { state in
            for block in state.blocks.values { functions.freeMemory(device, block.memory, nil) }
            state.blocks = [:]
            state.byteCount = 0
        }
    }

    /// Memory for something with these requirements.
    func allocate(
        _ requirements: VkMemoryRequirements, required: [VkMemoryPropertyFlagBits],
        wanted: [VkMemoryPropertyFlagBits], isImage: Bool = false
    ) throws(StorageError) -> Allocation {
        let size = Int(clamping: requirements.size)
        guard let type = physical.memoryType(requirements.memoryTypeBits, required: required, wanted: wanted) else {
            throw StorageError(
                .notSupported, .allocate, length: size, message: "the device has no memory of this kind")
        }
        return try state.withLock { state throws(StorageError) in
            try allocate(size, Int(requirements.alignment), type, isImage: isImage, &state)
        }
    }

    private func allocate(
        _ size: Int, _ alignment: Int, _ type: PhysicalDevice.MemoryType, isImage: Bool, _ state: inout State
    ) throws(StorageError) -> Allocation {
        var action = state.list.allocate(
            size, alignment: alignment, memoryType: Int(type.index), tiling: isImage ? .optimal : .linear)
        while true {
            switch action {
            case .use(let place): return state.allocation(place, type)
            case .create(let place, let byteCount):
                do throws(StorageError) {
                    try checkBudget(byteCount, heap: type.heap, state)
                    do throws(VulkanFailure) {
                        state.blocks[place.block] = try makeBlock(byteCount, type)
                    } catch {
                        throw error.error(.allocate, length: size)
                    }
                    state.byteCount += byteCount
                    return state.allocation(place, type)
                } catch {
                    for block in state.list.releaseEmptyBlocks() { freeBlock(block, &state) }
                    guard let next = state.list.allocationFailed(place) else { throw error }
                    action = next
                }
            }
        }
    }

    private func makeBlock(_ size: Int, _ type: PhysicalDevice.MemoryType) throws(VulkanFailure) -> Block {
        var info = VkMemoryAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
        info.allocationSize = UInt64(size)
        info.memoryTypeIndex = type.index
        var flags = VkMemoryAllocateFlagsInfo()
        flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO
        flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT.rawValue
        var memory: VkDeviceMemory?
        let result = withUnsafePointer(to: &flags) { flags in
            if hasAddresses { info.pNext = UnsafeRawPointer(flags) }
            return functions.allocateMemory(device, &info, nil, &memory)
        }
        try check(result, "vkAllocateMemory")
        var mapped: UnsafeMutableRawPointer?
        if type.has(VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) {
            // What cannot be mapped is still good for copies.
            _ = functions.mapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &mapped)
        }
        return Block(memory: memory!, size: size, mapped: mapped)
    }

    private func freeBlock(_ number: Int, _ state: inout State) {
        guard let block = state.blocks.removeValue(forKey: number) else { return }
        functions.freeMemory(device, block.memory, nil)
        state.byteCount -= block.size
    }

    func free(_ allocation: Allocation) {
        state.withLock { state in
            if let empty = state.list.free(allocation.place) { freeBlock(empty, &state) }
        }
    }

    // MARK: Budget

    private func checkBudget(_ size: Int, heap: Int, _ state: State) throws(StorageError) {
        let left: Int
        if hasMemoryBudget {
            left = budgetLeft(heap: heap)
        } else if let configuredBudget {
            left = configuredBudget - state.byteCount
        } else {
            return
        }
        guard size <= left else {
            throw StorageError(
                .deviceMemory, .allocate, length: size,
                message: "the GPU's memory budget has \(max(0, left)) bytes left; free some buffers")
        }
    }

    /// What the driver says that this process may still take of the heap.
    private func budgetLeft(heap: Int) -> Int {
        var budget = VkPhysicalDeviceMemoryBudgetPropertiesEXT()
        budget.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT
        var memory = VkPhysicalDeviceMemoryProperties2()
        memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2
        withUnsafeMutablePointer(to: &budget) { budget in
            memory.pNext = UnsafeMutableRawPointer(budget)
            instanceFunctions.getPhysicalDeviceMemoryProperties2(physical.handle, &memory)
        }
        let budgets = list(budget.heapBudget, UInt64.self, physical.heapSizes.count)
        let usages = list(budget.heapUsage, UInt64.self, physical.heapSizes.count)
        return Int(clamping: budgets[heap]) - Int(clamping: usages[heap])
    }
}

extension GPUHeap.State {
    fileprivate func allocation(_ place: BlockList.Place, _ type: PhysicalDevice.MemoryType) -> GPUHeap.Allocation {
        let block = blocks[place.block]!
        return GPUHeap.Allocation(
            place: place, memory: block.memory, memorySize: UInt64(block.size), type: type,
            mapped: block.mapped.map { $0 + place.range.lowerBound })
    }
}

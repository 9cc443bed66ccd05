import CVulkan
import Penstock
import Synchronization

/// The memory that a device's own buffers and images are made of.
final class GPUHeap: @unchecked Sendable {  // the device's handle is for any thread; counts are atomic
    struct Allocation: @unchecked Sendable {  // as above
        let memory: VkDeviceMemory
        let offset: UInt64
        let size: UInt64
        let type: PhysicalDevice.MemoryType
        /// Where the host sees it, if it does.
        let mapped: UnsafeMutableRawPointer?
    }

    private let device: VkDevice
    private let functions: DeviceFunctions
    private let instanceFunctions: InstanceFunctions
    private let physical: PhysicalDevice
    private let hasMemoryBudget: Bool
    private let configuredBudget: Int?
    private let used = Atomic<Int>(0)

    init(
        device: VkDevice, functions: DeviceFunctions, instanceFunctions: InstanceFunctions, physical: PhysicalDevice,
        hasMemoryBudget: Bool, configuredBudget: Int?
    ) {
        self.device = device
        self.functions = functions
        self.instanceFunctions = instanceFunctions
        self.physical = physical
        self.hasMemoryBudget = hasMemoryBudget
        self.configuredBudget = configuredBudget
    }

    func destroy() {}

    /// Memory for something with these requirements.
    func allocate(
        _ requirements: VkMemoryRequirements, required: [VkMemoryPropertyFlagBits], wanted: [VkMemoryPropertyFlagBits]
    ) throws(StorageError) -> Allocation {
        let size = requirements.size
        guard let type = physical.memoryType(requirements.memoryTypeBits, required: required, wanted: wanted) else {
            throw StorageError(
                .notSupported, .allocate, length: Int(size), message: "the device has no memory of this kind")
        }
        try checkBudget(size, heap: type.heap)
        var info = VkMemoryAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
        info.allocationSize = size
        info.memoryTypeIndex = type.index
        var memory: VkDeviceMemory?
        var mapped: UnsafeMutableRawPointer?
        do throws(VulkanFailure) {
            try check(functions.allocateMemory(device, &info, nil, &memory), "vkAllocateMemory")
            if type.has(VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) {
                // What cannot be mapped is still good for copies.
                _ = functions.mapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &mapped)
            }
        } catch {
            throw error.error(.allocate, length: Int(size))
        }
        used.wrappingAdd(Int(size), ordering: .relaxed)
        return Allocation(memory: memory!, offset: 0, size: size, type: type, mapped: mapped)
    }

    func free(_ allocation: Allocation) {
        functions.freeMemory(device, allocation.memory, nil)
        used.wrappingSubtract(Int(allocation.size), ordering: .relaxed)
    }

    // MARK: Budget

    private func checkBudget(_ size: UInt64, heap: Int) throws(StorageError) {
        let left: Int
        if hasMemoryBudget {
            left = budgetLeft(heap: heap)
        } else if let configuredBudget {
            left = configuredBudget - used.load(ordering: .relaxed)
        } else {
            return
        }
        guard size <= Int.max, Int(size) <= left else {
            throw StorageError(
                .deviceMemory, .allocate, length: Int(clamping: size),
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

import CVulkan

extension FakeVulkan {
    /// What the fake machine is like.
    package struct Configuration: Sendable {
        /// 1.2, 1.3: from 1.3 the core has synchronization2; below, only the KHR names exist.
        package var apiVersion: UInt32 = PENSTOCK_VK_API_VERSION_1_3
        package var hasDevice = true
        package var deviceName = "Fake GPU"
        package var deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
        package var instanceExtensions: Set<String> = ["VK_EXT_debug_utils"]
        package var layers: Set<String> = []
        /// Besides those that the other settings imply.
        package var deviceExtensions: Set<String> = []
        package var hasTimelineSemaphores = true
        package var hasSynchronization2 = true
        /// What dispatches do; nil: the device has no functions for compute shaders.
        package var kernel: Kernel?
        /// What decompression does, where one of its extensions is among ``deviceExtensions``.
        package var decompressor: Decompressor?
        package var hasBufferDeviceAddress = true
        package var hasMemoryDecompression = true
        package var hasMaintenance5 = true
        /// As `VkPhysicalDeviceMemoryDecompressionPropertiesNV` says: 1 is GDeflate 1.0.
        package var decompressionMethods: UInt64 = 1
        /// Functions that the device lacks although it ought to have them.
        package var missingFunctions: Set<String> = []

        package var memoryTypes: [MemoryType] = [.deviceLocal, .hostCached]
        /// Bytes of each heap.
        package var heaps: [UInt64] = [4 << 30, 8 << 30]
        /// Which memory types buffers, and which images, can be bound to, as a mask.
        package var bufferMemoryTypes: UInt32 = .max
        package var imageMemoryTypes: UInt32 = .max
        package var bufferAlignment: UInt64 = 64
        package var imageAlignment: UInt64 = 256
        package var bufferImageGranularity: UInt64 = 1
        package var nonCoherentAtomSize: UInt64 = 64
        package var maxMemoryAllocationSize: UInt64 = 2 << 30
        package var maxMemoryAllocationCount: UInt32 = 4096
        /// Bytes that `vkAllocateMemory` gives out before it says VK_ERROR_OUT_OF_DEVICE_MEMORY.
        package var memoryLimit: UInt64 = .max
        package var optimalBufferCopyOffsetAlignment: UInt64 = 1
        /// What VK_EXT_memory_budget says of each heap, the usage before anything is allocated here; nil: no such extension.
        package var budget: [Budget]?
        /// Whether new memory holds a pattern instead of whatever malloc returns.
        package var poisonsFreshMemory = true

        package var hasExternalMemoryHost = true
        package var minImportedHostPointerAlignment: UInt64 = 4096
        /// The memory types that host memory can be imported as, as a mask; nil: all host-visible ones.
        package var importMemoryTypes: UInt32?
        /// How many imports succeed before VK_ERROR_INVALID_EXTERNAL_HANDLE.
        package var importLimit = Int.max

        package var queueFamilies: [QueueFamily] = [.universal]
        package var execution = Execution.automatic
        /// Whether `vkQueueSubmit2` may be called only with ``FakeVulkan/queueLock`` held.
        package var requiresLock = false
        /// Whether any threads may submit to a queue at once.
        package var synchronizesQueuesInternally = false
        /// Whether a lost device says so by a counter of `UInt64.max`, and not by what `vkGetSemaphoreCounterValue` returns.
        package var lostCounterIsMax = false
        /// Whether a submission that waits for a value that nothing submitted will signal is a violation.
        package var forbidsWaitBeforeSignal = true
        /// Whether a copy into HOST_CACHED memory that is not device-local must be followed by a barrier to the host in
        /// its own submission.
        package var requiresHostBarrier = true
        /// By function and call, counted from 1: what the call returns, in place of doing anything.
        package var faults: [String: [Int: VkResult]] = [:]

        package init() {}

        /// The configuration with some settings changed.
        package static func with(_ change: (inout Configuration) -> Void) -> Configuration {
            var configuration = Configuration()
            change(&configuration)
            return configuration
        }

        /// One memory type with every flag, as an integrated GPU or lavapipe has.
        package static var unified: Configuration {
            with {
                $0.deviceType = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU
                $0.memoryTypes = [.unified]
                $0.heaps = [8 << 30]
            }
        }

        /// Host-visible memory that must be flushed and invalidated.
        package static var nonCoherent: Configuration {
            with { $0.memoryTypes = [.deviceLocal, .hostCachedNonCoherent] }
        }

        /// All of the device's memory is visible to the host, write-combined (ReBAR).
        package static var rebar: Configuration {
            with { $0.memoryTypes = [.deviceLocal, .hostCached, .writeCombined] }
        }

        /// The host sees a window of 4 MiB of the device's memory (no ReBAR).
        package static var smallWindow: Configuration {
            with {
                $0.memoryTypes = [
                    .deviceLocal, .hostCached,
                    .init(
                        heap: 2, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
                        VK_MEMORY_PROPERTY_HOST_COHERENT_BIT),
                ]
                $0.heaps = [4 << 30, 8 << 30, 4 << 20]
            }
        }

        /// A second queue family for transfers only.
        package static func transferQueue(granularity: (UInt32, UInt32, UInt32)) -> Configuration {
            with { $0.queueFamilies = [.universal, .transferOnly(granularity: granularity)] }
        }

        var importTypes: UInt32 {
            if let importMemoryTypes { return importMemoryTypes }
            var mask: UInt32 = 0
            for (index, type) in memoryTypes.enumerated() where type.isHostVisible { mask |= 1 << UInt32(index) }
            return mask
        }

        var allDeviceExtensions: Set<String> {
            var all = deviceExtensions
            if hasExternalMemoryHost { all.insert("VK_EXT_external_memory_host") }
            if budget != nil { all.insert("VK_EXT_memory_budget") }
            if hasSynchronization2 { all.formUnion(["VK_KHR_synchronization2", "VK_KHR_copy_commands2"]) }
            if hasTimelineSemaphores { all.insert("VK_KHR_timeline_semaphore") }
            return all
        }
    }

    package enum Execution: Sendable {
        /// Nothing runs until the test calls `step()` or `runAll()`.
        case manual
        /// A thread runs what is submitted, as soon as its waits allow.
        case automatic
    }

    package struct Budget: Sendable {
        package var budget: UInt64
        package var usage: UInt64

        package init(budget: UInt64, usage: UInt64) {
            self.budget = budget
            self.usage = usage
        }
    }

    package struct MemoryType: Sendable {
        package var heap: Int
        package var flags: VkMemoryPropertyFlags

        package init(heap: Int, _ flags: VkMemoryPropertyFlagBits...) {
            self.heap = heap
            self.flags = flags.reduce(0) { $0 | $1.rawValue }
        }

        package static let deviceLocal = MemoryType(heap: 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT)
        package static let hostCached = MemoryType(
            heap: 1, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
            VK_MEMORY_PROPERTY_HOST_CACHED_BIT)
        package static let hostCachedNonCoherent = MemoryType(
            heap: 1, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, VK_MEMORY_PROPERTY_HOST_CACHED_BIT)
        package static let writeCombined = MemoryType(
            heap: 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
            VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)
        package static let unified = MemoryType(
            heap: 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
            VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, VK_MEMORY_PROPERTY_HOST_CACHED_BIT)

        func has(_ flag: VkMemoryPropertyFlagBits) -> Bool { flags & flag.rawValue != 0 }
        var isHostVisible: Bool { has(VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) }
        var isCoherent: Bool { has(VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) }
        /// Memory that is only for passing data between the host and the device.
        var isStaging: Bool {
            has(VK_MEMORY_PROPERTY_HOST_CACHED_BIT) && !has(VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT)
        }
    }

    package struct QueueFamily: Sendable {
        package var flags: VkQueueFlags
        package var count: UInt32 = 1
        /// In texels, or blocks of them: (0, 0, 0) allows whole subresources only.
        package var granularity: (UInt32, UInt32, UInt32) = (1, 1, 1)

        package init(flags: VkQueueFlags, count: UInt32 = 1, granularity: (UInt32, UInt32, UInt32) = (1, 1, 1)) {
            self.flags = flags
            self.count = count
            self.granularity = granularity
        }

        package static let universal = QueueFamily(
            flags: VK_QUEUE_GRAPHICS_BIT.rawValue | VK_QUEUE_COMPUTE_BIT.rawValue | VK_QUEUE_TRANSFER_BIT.rawValue)

        package static func transferOnly(granularity: (UInt32, UInt32, UInt32) = (1, 1, 1)) -> QueueFamily {
            QueueFamily(flags: VK_QUEUE_TRANSFER_BIT.rawValue, granularity: granularity)
        }

        var isTransferOnly: Bool {
            flags & (VK_QUEUE_GRAPHICS_BIT.rawValue | VK_QUEUE_COMPUTE_BIT.rawValue) == 0
        }
    }
}

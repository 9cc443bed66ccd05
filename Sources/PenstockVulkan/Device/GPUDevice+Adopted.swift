import CVulkan
import Penstock

extension GPUDevice {
    /// The application's device, and what Penstock may do with it.
    public struct Adoption: @unchecked Sendable {  // handles that any thread may pass to Vulkan
        /// `vkGetInstanceProcAddr` in Swift's terms.
        public typealias FunctionLoader =
            @convention(c) (OpaquePointer?, UnsafePointer<CChar>?) -> (@convention(c) () -> Void)?

        /// Features and extensions that the device was made with. A device cannot be asked.
        public struct Enabled: OptionSet, Sendable {
            /// The options' bits.
            public let rawValue: UInt8
            /// Makes options from their bits.
            public init(rawValue: UInt8) { self.rawValue = rawValue }
            /// `timelineSemaphore`; needed.
            public static let timelineSemaphores = Enabled(rawValue: 1)
            /// `synchronization2`, with `VK_KHR_copy_commands2` or Vulkan 1.3; needed.
            public static let synchronization2 = Enabled(rawValue: 2)
            /// `VK_EXT_external_memory_host`: staging memory is imported instead of allocated.
            public static let externalMemoryHost = Enabled(rawValue: 4)
            /// `VK_EXT_memory_budget`: buffers stay within what the driver says is left.
            public static let memoryBudget = Enabled(rawValue: 8)
            /// `VK_EXT_memory_decompression` and `VK_KHR_maintenance5`, with their features `memoryDecompression` and
            /// `maintenance5`, and `bufferDeviceAddress`: the driver decodes GDeflate pages that have been verified,
            /// see `DecodingPolicy.allowsMemoryDecompression` of PenstockCompression.
            public static let memoryDecompression = Enabled(rawValue: 16)
            /// The same with `VK_NV_memory_decompression`, whose features are `memoryDecompression` and
            /// `bufferDeviceAddress`.
            public static let memoryDecompressionNV = Enabled(rawValue: 32)

            fileprivate var decompression: [MemoryDecompression.Extension] {
                (contains(.memoryDecompression) ? [.ext] : []) + (contains(.memoryDecompressionNV) ? [.nv] : [])
            }
        }

        /// The `VkInstance`.
        public var instance: OpaquePointer
        /// The `VkPhysicalDevice`.
        public var physicalDevice: OpaquePointer
        /// The `VkDevice`.
        public var device: OpaquePointer
        /// The `VkQueue` for copies.
        public var queue: OpaquePointer
        /// The family of `queue`.
        public var queueFamily: UInt32
        /// What the device was made with.
        public var enabled: Enabled = [.timelineSemaphores, .synchronization2]
        /// Who else uses `queue`.
        public var submitMode = SubmitMode.exclusive
        /// Families whose queues use the buffers and images that this device makes: with two or more they are made for
        /// `VK_SHARING_MODE_CONCURRENT` use.
        public var sharingFamilies: [UInt32] = []
        /// Whether files are read straight into memory that host and GPU share, where there is some.
        public var landsDirectly = true
        /// Nothing wakes the storage queue when copies are done: it looks in each turn, and when
        /// ``Penstock/StorageQueue/poll()`` is called, once a frame for instance.
        public var pollsCompletions = false
        /// Bytes that buffers and images made by this device may take, where `VK_EXT_memory_budget` is not enabled; nil:
        /// what the driver gives.
        public var memoryBudget: Int?
        /// Finds Vulkan's functions; nil: the system's loader does.
        public var functionLoader: FunctionLoader?

        /// The handles of a device.
        public init(
            instance: OpaquePointer, physicalDevice: OpaquePointer, device: OpaquePointer, queue: OpaquePointer,
            queueFamily: UInt32
        ) {
            self.instance = instance
            self.physicalDevice = physicalDevice
            self.device = device
            self.queue = queue
            self.queueFamily = queueFamily
        }
    }

    /// Uses a device of the application's. Nothing of it is ever destroyed, and its queue is only used as agreed.
    ///
    /// - Throws: ``Penstock/StorageError/Code/invalidArgument`` when something needed is not enabled,
    ///   ``Penstock/StorageError/Code/unavailable`` without a loader or without a function that is needed.
    public convenience init(adopting adoption: Adoption) throws(StorageError) {
        guard adoption.enabled.isSuperset(of: [.timelineSemaphores, .synchronization2]) else {
            throw StorageError(
                .invalidArgument, .setUp,
                message: "make the VkDevice with timelineSemaphore and synchronization2, and say so in `enabled`")
        }
        let loader: PFN_vkGetInstanceProcAddr
        if let given = adoption.functionLoader {
            loader = given
        } else {
            loader = try VulkanLoader.open()
        }
        let parts: Parts
        do throws(VulkanFailure) {
            let instanceFunctions = try InstanceFunctions(adoption.instance, loader)
            let physical = try PhysicalDevice(adoption.physicalDevice, instanceFunctions)
            parts = Parts(
                instance: adoption.instance, physical: physical, device: adoption.device, queue: adoption.queue,
                queueFamily: adoption.queueFamily,
                functions: try DeviceFunctions(adoption.device, instanceFunctions.getDeviceProcAddr),
                instanceFunctions: instanceFunctions, submitMode: adoption.submitMode,
                sharingFamilies: adoption.sharingFamilies,
                mayImport: adoption.enabled.contains(.externalMemoryHost), landsDirectly: adoption.landsDirectly,
                hasMemoryBudget: adoption.enabled.contains(.memoryBudget), memoryBudget: adoption.memoryBudget,
                decompression: adoption.enabled.decompression, pollsCompletions: adoption.pollsCompletions)
        } catch {
            throw error.error(.setUp)
        }
        guard adoption.queueFamily < parts.physical.queueFamilies.count,
            parts.physical.queueFamilies[Int(adoption.queueFamily)].canTransfer
        else {
            throw StorageError(
                .invalidArgument, .setUp, message: "queue family \(adoption.queueFamily) cannot copy; name one that can"
            )
        }
        try self.init(parts)
    }
}

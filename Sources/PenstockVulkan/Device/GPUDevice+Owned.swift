import CVulkan
import Glibc
import Penstock

extension GPUDevice {
    /// Which device to make, and how.
    public struct Configuration: Sendable {
        /// A part of the device's name; nil: `PENSTOCK_VK_DEVICE`, or the best there is: a discrete GPU, then an integrated
        /// one, then a virtual one, then a CPU.
        public var name: String?
        /// Called with each message of `VK_LAYER_KHRONOS_validation` (core, synchronization and thread-safety checks), on
        /// whatever thread; nil: no validation.
        public var validation: (@Sendable (String) -> Void)?
        /// Whether files are read straight into memory that host and GPU share, where there is some.
        public var landsDirectly = true
        /// Whether host memory may be imported for staging.
        public var importsHostMemory = true
        /// Bytes that buffers and images may take, where the driver has no `VK_EXT_memory_budget`; nil: what it gives.
        public var memoryBudget: Int?
        /// Finds Vulkan's functions; nil: the system's loader does.
        public var functionLoader: Adoption.FunctionLoader?

        /// The defaults.
        public init() {}
    }

    /// Makes a device of its own, for tools and tests. Games have one already: ``init(adopting:)``.
    ///
    /// - Throws: ``Penstock/StorageError/Code/unavailable`` without a loader, a device or a feature that is needed; the
    ///   message says what to install.
    public convenience init(_ configuration: Configuration = .init()) throws(StorageError) {
        let instance = try Self.makeInstance(configuration)
        let parts: Parts
        do throws(StorageError) {
            let physical = try Self.choose(instance, configuration)
            parts = try Self.makeDevice(instance, physical, configuration)
        } catch {
            instance.destroy()
            throw error
        }
        try self.init(parts)
    }

    /// The devices that there are, the best first.
    package static func all(_ configuration: Configuration = .init()) throws(StorageError) -> [PhysicalDevice] {
        let instance = try makeInstance(configuration)
        defer { instance.destroy() }
        return try list(instance)
    }

    private static func makeInstance(_ configuration: Configuration) throws(StorageError) -> OwnedInstance {
        let loader: PFN_vkGetInstanceProcAddr
        if let given = configuration.functionLoader {
            loader = given
        } else {
            loader = try VulkanLoader.open()
        }
        do throws(VulkanFailure) {
            return try OwnedInstance(VulkanGlobals(loader), validation: configuration.validation)
        } catch {
            throw error.error(.setUp)
        }
    }

    private static func list(_ instance: OwnedInstance) throws(StorageError) -> [PhysicalDevice] {
        do throws(VulkanFailure) {
            let command = "vkEnumeratePhysicalDevices"
            var count: UInt32 = 0
            try check(instance.functions.enumeratePhysicalDevices(instance.handle, &count, nil), command)
            var handles = [VkPhysicalDevice?](repeating: nil, count: Int(count))
            try check(instance.functions.enumeratePhysicalDevices(instance.handle, &count, &handles), command)
            var devices: [PhysicalDevice] = []
            for handle in handles.prefix(Int(count)) {
                devices.append(try PhysicalDevice(handle!, instance.functions))
            }
            return devices.sorted { $0.rank < $1.rank }
        } catch {
            throw error.error(.setUp)
        }
    }

    private static func choose(
        _ instance: OwnedInstance, _ configuration: Configuration
    ) throws(StorageError) -> PhysicalDevice {
        let devices = try list(instance)
        guard !devices.isEmpty else {
            throw StorageError(.unavailable, .setUp, message: VulkanLoader.noDevice)
        }
        let name = configuration.name ?? getenv("PENSTOCK_VK_DEVICE").map { String(cString: $0) } ?? ""
        let named = devices.filter { name.isEmpty || $0.name.lowercased().contains(name.lowercased()) }
        guard !named.isEmpty else {
            throw StorageError(
                .unavailable, .setUp,
                message: "no Vulkan device is called \(name); there are: "
                    + devices.map(\.name).joined(separator: ", "))
        }
        guard let device = named.first(where: \.isUsable) else {
            throw StorageError(
                .unavailable, .setUp,
                message: "\(named[0].name) lacks Vulkan 1.3, timelineSemaphore or synchronization2; update its driver")
        }
        return device
    }

    private static func makeDevice(
        _ instance: OwnedInstance, _ physical: PhysicalDevice, _ configuration: Configuration
    ) throws(StorageError) -> Parts {
        // A family that does nothing but copy runs beside rendering; what is used here is simple enough for any.
        guard let family = physical.queueFamilies.first(where: \.canTransfer) else {
            throw StorageError(.unavailable, .setUp, message: "\(physical.name) has no queue that can copy")
        }
        let wanted = ["VK_EXT_external_memory_host", "VK_EXT_memory_budget"]
        var extensions = wanted.filter {
            physical.extensions.contains($0) && ($0 != wanted[0] || configuration.importsHostMemory)
        }
        let decompression = physical.memoryDecompression
        if let decompression { extensions.append(decompression.rawValue) }
        if decompression == .ext { extensions.append("VK_KHR_maintenance5") }
        var device: VkDevice?
        let result = create(&device, physical, family.index, extensions, decompression, instance.functions)
        do throws(VulkanFailure) {
            try check(result, "vkCreateDevice")
            let functions = try DeviceFunctions(device!, instance.functions.getDeviceProcAddr)
            var queue: VkQueue?
            functions.getDeviceQueue(device, family.index, 0, &queue)
            return Parts(
                instance: instance.handle, physical: physical, device: device!, queue: queue!,
                queueFamily: family.index, functions: functions, instanceFunctions: instance.functions,
                submitMode: .exclusive, mayImport: extensions.contains(wanted[0]),
                landsDirectly: configuration.landsDirectly, hasMemoryBudget: extensions.contains(wanted[1]),
                memoryBudget: configuration.memoryBudget, decompression: decompression.map { [$0] } ?? [],
                owned: instance)
        } catch {
            throw error.error(.setUp)
        }
    }

    private static func create(
        _ device: inout VkDevice?, _ physical: PhysicalDevice, _ family: UInt32, _ extensions: [String],
        _ decompression: MemoryDecompression.Extension?, _ functions: InstanceFunctions
    ) -> VkResult {
        var core = VkPhysicalDeviceVulkan12Features()
        core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES
        core.timelineSemaphore = 1
        core.bufferDeviceAddress = decompression == nil ? 0 : 1
        var maintenance5 = VkPhysicalDeviceMaintenance5FeaturesKHR()
        maintenance5.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_5_FEATURES_KHR
        maintenance5.maintenance5 = 1
        var memory = VkPhysicalDeviceMemoryDecompressionFeaturesNV()
        memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_DECOMPRESSION_FEATURES_NV
        memory.memoryDecompression = 1
        var synchronization2 = VkPhysicalDeviceSynchronization2Features()
        synchronization2.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SYNCHRONIZATION_2_FEATURES
        synchronization2.synchronization2 = 1
        var queue = VkDeviceQueueCreateInfo()
        queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO
        queue.queueFamilyIndex = family
        queue.queueCount = 1
        var info = VkDeviceCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO
        return withUnsafeMutablePointer(to: &core) { core in
            withUnsafeMutablePointer(to: &synchronization2) { synchronization2 in
                withUnsafeMutablePointer(to: &memory) { memory in
                    withUnsafeMutablePointer(to: &maintenance5) { maintenance5 in
                        core.pointee.pNext = .init(synchronization2)
                        if decompression != nil { synchronization2.pointee.pNext = .init(memory) }
                        if decompression == .ext { memory.pointee.pNext = .init(maintenance5) }
                        info.pNext = UnsafeRawPointer(core)
                        return create(&device, physical, &info, queue, extensions, functions)
                    }
                }
            }
        }
    }

    private static func create(
        _ device: inout VkDevice?, _ physical: PhysicalDevice, _ info: inout VkDeviceCreateInfo,
        _ queue: VkDeviceQueueCreateInfo, _ extensions: [String], _ functions: InstanceFunctions
    ) -> VkResult {
        var queue = queue
        return withCStrings(extensions) { extensions in
            withUnsafePointer(to: 1 as Float) { priority in
                queue.pQueuePriorities = priority
                return withUnsafePointer(to: &queue) { queue in
                    info.queueCreateInfoCount = 1
                    info.pQueueCreateInfos = queue
                    info.enabledExtensionCount = UInt32(extensions.count)
                    info.ppEnabledExtensionNames = extensions.baseAddress
                    return functions.createDevice(physical.handle, &info, nil, &device)
                }
            }
        }
    }
}

extension PhysicalDevice {
    /// The order in which devices are taken.
    var rank: Int {
        switch type {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: 0
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: 1
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: 2
        case VK_PHYSICAL_DEVICE_TYPE_CPU: 3
        default: 4
        }
    }

    /// Whether a device of ours can be made of it.
    package var isUsable: Bool {
        apiVersion >= PENSTOCK_VK_API_VERSION_1_3 && hasTimelineSemaphores && hasSynchronization2
    }
}

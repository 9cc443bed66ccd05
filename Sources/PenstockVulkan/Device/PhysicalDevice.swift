import CVulkan

/// What Vulkan says of one device, as plain values.
package struct PhysicalDevice: @unchecked Sendable {  // the handle is the instance's, which outlives this
    package struct MemoryType: Sendable {
        package let index: UInt32
        package let heap: Int
        package let flags: VkMemoryPropertyFlags

        package func has(_ flag: VkMemoryPropertyFlagBits) -> Bool { flags & flag.rawValue != 0 }
    }

    package struct QueueFamily: Sendable {
        package let index: UInt32
        package let flags: VkQueueFlags
        package let count: UInt32
        package let properties: VkQueueFamilyProperties
        package var granularity: VkExtent3D { properties.minImageTransferGranularity }

        package func has(_ flag: VkQueueFlagBits) -> Bool { flags & flag.rawValue != 0 }
        /// Graphics and compute imply transfer, whether or not the flag says so.
        package var canTransfer: Bool {
            has(VK_QUEUE_TRANSFER_BIT) || has(VK_QUEUE_GRAPHICS_BIT) || has(VK_QUEUE_COMPUTE_BIT)
        }
    }

    package let handle: VkPhysicalDevice
    package let name: String
    package let type: VkPhysicalDeviceType
    package let apiVersion: UInt32
    package let driver: String
    package let memoryTypes: [MemoryType]
    package let heapSizes: [UInt64]
    package let queueFamilies: [QueueFamily]
    package let extensions: Set<String>
    package let nonCoherentAtomSize: Int
    package let bufferImageGranularity: Int
    /// What addresses and sizes of imported host memory must be multiples of; nil: it cannot be imported.
    package let importAlignment: Int?
    package let hasTimelineSemaphores: Bool
    package let hasSynchronization2: Bool
    /// Whether memory can be decompressed, GDeflate 1.0 among the methods, at addresses of buffers.
    private let decompressesGDeflate: Bool
    /// Whether buffers can be given usages beyond 32 bits.
    private let hasMaintenance5: Bool

    package init(_ handle: VkPhysicalDevice, _ functions: InstanceFunctions) throws(VulkanFailure) {
        self.handle = handle
        extensions = try Self.extensions(of: handle, functions)
        let canImport = extensions.contains("VK_EXT_external_memory_host")
        let properties = Self.properties(of: handle, functions, extensions)
        name = properties.name
        type = properties.type
        apiVersion = properties.apiVersion
        driver = properties.driver
        bufferImageGranularity = max(1, Int(properties.bufferImageGranularity))
        nonCoherentAtomSize = max(1, Int(properties.nonCoherentAtomSize))
        importAlignment = canImport ? Int(properties.importAlignment) : nil
        (memoryTypes, heapSizes) = Self.memory(of: handle, functions)
        queueFamilies = Self.queueFamilies(of: handle, functions)
        let features = Self.features(of: handle, functions, extensions)
        hasTimelineSemaphores = features.timelines
        hasSynchronization2 = features.synchronization2
        hasMaintenance5 = features.maintenance5
        let method = VK_MEMORY_DECOMPRESSION_METHOD_GDEFLATE_1_0_BIT_NV
        decompressesGDeflate = features.decompression && properties.decompressionMethods & method != 0
    }

    /// The memory type that the mask allows with all of `required` and the most of `wanted`, whose first counts most.
    package func memoryType(
        _ mask: UInt32, required: [VkMemoryPropertyFlagBits], wanted: [VkMemoryPropertyFlagBits] = []
    ) -> MemoryType? {
        let fitting = memoryTypes.filter { type in
            mask & (1 << type.index) != 0 && required.allSatisfy { type.has($0) }
        }
        func rank(_ type: MemoryType) -> Int { wanted.reduce(0) { $0 * 2 + (type.has($1) ? 1 : 0) } }
        // The first of equals: Vulkan lists those that have nothing else before those that have, and faster ones first.
        return fitting.max { rank($0) < rank($1) }
    }

    /// Whether the host can see all of the device's own memory. Without a resizable BAR it sees a window of some 256 MiB,
    /// which everybody shares and which is no place for an application's buffers.
    package var isVisibleToHost: Bool {
        let own = memoryTypes.filter { $0.has(VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) }
        let visible = own.filter { $0.has(VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) }
        return visible.contains { type in own.allSatisfy { heapSizes[$0.heap] <= heapSizes[type.heap] } }
    }

    /// Whether the extension can be used for GDeflate pages, once it is enabled with all that it needs.
    package func offers(_ decompression: MemoryDecompression.Extension) -> Bool {
        extensions.contains(decompression.rawValue) && decompressesGDeflate
            && (decompression != .ext || hasMaintenance5)
    }

    /// The extension to decompress memory with; nil: there is none.
    package var memoryDecompression: MemoryDecompression.Extension? {
        MemoryDecompression.Extension.allCases.first(where: offers)
    }

    // MARK: Questions

    private static func extensions(
        of handle: VkPhysicalDevice, _ functions: InstanceFunctions
    ) throws(VulkanFailure) -> Set<String> {
        var count: UInt32 = 0
        let command = "vkEnumerateDeviceExtensionProperties"
        try check(functions.enumerateDeviceExtensionProperties(handle, nil, &count, nil), command)
        var list = [VkExtensionProperties](repeating: VkExtensionProperties(), count: Int(count))
        try check(functions.enumerateDeviceExtensionProperties(handle, nil, &count, &list), command)
        return Set(list.prefix(Int(count)).map { string($0.extensionName) })
    }

    private struct Properties {
        var name = ""
        var type = VK_PHYSICAL_DEVICE_TYPE_OTHER
        var apiVersion: UInt32 = 0
        var driver = ""
        var nonCoherentAtomSize: UInt64 = 1
        var bufferImageGranularity: UInt64 = 1
        var importAlignment: UInt64 = 4096
        var decompressionMethods: VkFlags64 = 0
    }

    private static func properties(
        of handle: VkPhysicalDevice, _ functions: InstanceFunctions, _ extensions: Set<String>
    ) -> Properties {
        var memoryHost = VkPhysicalDeviceExternalMemoryHostPropertiesEXT()
        memoryHost.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT
        var driver = VkPhysicalDeviceDriverProperties()
        driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES
        var properties = VkPhysicalDeviceProperties2()
        properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2
        var decompression = VkPhysicalDeviceMemoryDecompressionPropertiesNV()
        decompression.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_DECOMPRESSION_PROPERTIES_NV
        withUnsafeMutablePointer(to: &memoryHost) { memoryHost in
            withUnsafeMutablePointer(to: &decompression) { decompression in
                withUnsafeMutablePointer(to: &driver) { driver in
                    var chain: UnsafeMutableRawPointer?
                    if extensions.contains("VK_EXT_external_memory_host") { chain = .init(memoryHost) }
                    if extensions.hasDecompression {
                        decompression.pointee.pNext = chain
                        chain = .init(decompression)
                    }
                    driver.pointee.pNext = chain
                    properties.pNext = UnsafeMutableRawPointer(driver)
                    functions.getPhysicalDeviceProperties2(handle, &properties)
                }
            }
        }
        return Properties(
            name: string(properties.properties.deviceName), type: properties.properties.deviceType,
            apiVersion: properties.properties.apiVersion,
            driver: "\(string(driver.driverName)) \(string(driver.driverInfo))",
            nonCoherentAtomSize: properties.properties.limits.nonCoherentAtomSize,
            bufferImageGranularity: properties.properties.limits.bufferImageGranularity,
            importAlignment: memoryHost.minImportedHostPointerAlignment,
            decompressionMethods: decompression.decompressionMethods)
    }

    private static func memory(
        of handle: VkPhysicalDevice, _ functions: InstanceFunctions
    ) -> ([MemoryType], [UInt64]) {
        var memory = VkPhysicalDeviceMemoryProperties2()
        memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2
        functions.getPhysicalDeviceMemoryProperties2(handle, &memory)
        let properties = memory.memoryProperties
        let types = list(properties.memoryTypes, VkMemoryType.self, Int(properties.memoryTypeCount))
        let heaps = list(properties.memoryHeaps, VkMemoryHeap.self, Int(properties.memoryHeapCount))
        return (
            types.enumerated().map {
                MemoryType(index: UInt32($0), heap: Int($1.heapIndex), flags: $1.propertyFlags)
            }, heaps.map(\.size)
        )
    }

    private static func queueFamilies(
        of handle: VkPhysicalDevice, _ functions: InstanceFunctions
    ) -> [QueueFamily] {
        var count: UInt32 = 0
        functions.getPhysicalDeviceQueueFamilyProperties(handle, &count, nil)
        var families = [VkQueueFamilyProperties](repeating: VkQueueFamilyProperties(), count: Int(count))
        functions.getPhysicalDeviceQueueFamilyProperties(handle, &count, &families)
        return families.prefix(Int(count)).enumerated().map { index, family in
            QueueFamily(
                index: UInt32(index), flags: family.queueFlags, count: family.queueCount,
                properties: family)
        }
    }

    private static func features(
        of handle: VkPhysicalDevice, _ functions: InstanceFunctions, _ extensions: Set<String>
    ) -> Features {
        var timelines = VkPhysicalDeviceTimelineSemaphoreFeatures()
        timelines.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES
        var synchronization2 = VkPhysicalDeviceSynchronization2Features()
        synchronization2.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SYNCHRONIZATION_2_FEATURES
        var features = VkPhysicalDeviceFeatures2()
        features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2
        withUnsafeMutablePointer(to: &timelines) { timelines in
            withUnsafeMutablePointer(to: &synchronization2) { synchronization2 in
                synchronization2.pointee.pNext = UnsafeMutableRawPointer(timelines)
                features.pNext = UnsafeMutableRawPointer(synchronization2)
                functions.getPhysicalDeviceFeatures2(handle, &features)
            }
        }
        let (decompression, maintenance5) = decompressionFeatures(of: handle, functions, extensions)
        return Features(
            timelines: timelines.timelineSemaphore != 0, synchronization2: synchronization2.synchronization2 != 0,
            decompression: decompression, maintenance5: maintenance5)
    }

    private struct Features {
        var timelines: Bool
        var synchronization2: Bool
        var decompression: Bool
        var maintenance5: Bool
    }

    /// Whether memory can be decompressed at addresses, and whether the usage that one extension needs can be named.
    private static func decompressionFeatures(
        of handle: VkPhysicalDevice, _ functions: InstanceFunctions, _ extensions: Set<String>
    ) -> (decompression: Bool, maintenance5: Bool) {
        guard extensions.hasDecompression else { return (false, false) }
        var addresses = VkPhysicalDeviceBufferDeviceAddressFeatures()
        addresses.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES
        var decompression = VkPhysicalDeviceMemoryDecompressionFeaturesNV()
        decompression.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_DECOMPRESSION_FEATURES_NV
        var maintenance5 = VkPhysicalDeviceMaintenance5FeaturesKHR()
        maintenance5.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_5_FEATURES_KHR
        var features = VkPhysicalDeviceFeatures2()
        features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2
        withUnsafeMutablePointer(to: &addresses) { addresses in
            withUnsafeMutablePointer(to: &decompression) { decompression in
                withUnsafeMutablePointer(to: &maintenance5) { maintenance5 in
                    if extensions.contains("VK_KHR_maintenance5") { addresses.pointee.pNext = .init(maintenance5) }
                    decompression.pointee.pNext = .init(addresses)
                    features.pNext = .init(decompression)
                    functions.getPhysicalDeviceFeatures2(handle, &features)
                }
            }
        }
        return (
            decompression.memoryDecompression != 0 && addresses.bufferDeviceAddress != 0,
            maintenance5.maintenance5 != 0
        )
    }
}

extension Set<String> {
    fileprivate var hasDecompression: Bool { MemoryDecompression.Extension.allCases.contains { contains($0.rawValue) } }
}

/// A C string in a fixed array, which Swift shows as a tuple.
func string<Tuple>(_ tuple: Tuple) -> String {
    withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

/// The first elements of a fixed array, which Swift shows as a tuple.
func list<Tuple, Element>(_ tuple: Tuple, _ type: Element.Type, _ count: Int) -> [Element] {
    withUnsafeBytes(of: tuple) { Array($0.bindMemory(to: type).prefix(count)) }
}

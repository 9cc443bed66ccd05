import CVulkan

/// What the machine says of itself.
extension FakeVulkan {
    static let vkGetPhysicalDeviceProperties2: PFN_vkGetPhysicalDeviceProperties2 = { device, result in
        call("vkGetPhysicalDeviceProperties2", device, FakePhysicalDevice.self, otherwise: ()) { fake, _ in
            guard let result else { return }
            fake.checkType(
                result.pointee.sType, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, "VkPhysicalDeviceProperties2")
            let settings = fake.configuration
            var properties = VkPhysicalDeviceProperties()
            properties.apiVersion = settings.apiVersion
            properties.driverVersion = 1
            properties.vendorID = 0x10000
            properties.deviceType = settings.deviceType
            write(settings.deviceName, into: &properties.deviceName)
            properties.limits.maxMemoryAllocationCount = settings.maxMemoryAllocationCount
            properties.limits.bufferImageGranularity = settings.bufferImageGranularity
            properties.limits.nonCoherentAtomSize = settings.nonCoherentAtomSize
            properties.limits.minMemoryMapAlignment = 64
            properties.limits.optimalBufferCopyOffsetAlignment = settings.optimalBufferCopyOffsetAlignment
            properties.limits.optimalBufferCopyRowPitchAlignment = 1
            properties.limits.maxImageDimension1D = 16384
            properties.limits.maxImageDimension2D = 16384
            properties.limits.maxImageDimension3D = 2048
            properties.limits.maxImageDimensionCube = 16384
            properties.limits.maxImageArrayLayers = 2048
            result.pointee.properties = properties

            for (type, address) in chain(result.pointee.pNext) {
                let address = UnsafeMutableRawPointer(mutating: address)
                switch type {
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT:
                    let out = address.assumingMemoryBound(to: VkPhysicalDeviceExternalMemoryHostPropertiesEXT.self)
                    out.pointee.minImportedHostPointerAlignment = settings.minImportedHostPointerAlignment
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES:
                    let out = address.assumingMemoryBound(to: VkPhysicalDeviceMaintenance3Properties.self)
                    out.pointee.maxMemoryAllocationSize = settings.maxMemoryAllocationSize
                    out.pointee.maxPerSetDescriptors = 1024
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES:
                    let out = address.assumingMemoryBound(to: VkPhysicalDeviceVulkan11Properties.self)
                    out.pointee.maxMemoryAllocationSize = settings.maxMemoryAllocationSize
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES:
                    let out = address.assumingMemoryBound(to: VkPhysicalDeviceVulkan12Properties.self)
                    out.pointee.maxTimelineSemaphoreValueDifference = UInt64(Int32.max)
                    write("fake", into: &out.pointee.driverName)
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES:
                    let out = address.assumingMemoryBound(to: VkPhysicalDeviceDriverProperties.self)
                    write("fake", into: &out.pointee.driverName)
                    write("strict", into: &out.pointee.driverInfo)
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_PROPERTIES:
                    let out = address.assumingMemoryBound(to: VkPhysicalDeviceTimelineSemaphoreProperties.self)
                    out.pointee.maxTimelineSemaphoreValueDifference = UInt64(Int32.max)
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_DECOMPRESSION_PROPERTIES_NV:
                    let out = address.assumingMemoryBound(to: VkPhysicalDeviceMemoryDecompressionPropertiesNV.self)
                    out.pointee.decompressionMethods = settings.decompressionMethods
                    out.pointee.maxDecompressionIndirectCount = 1
                default:
                    break
                }
            }
        }
    }

    static let vkGetPhysicalDeviceFeatures2: PFN_vkGetPhysicalDeviceFeatures2 = { device, result in
        call("vkGetPhysicalDeviceFeatures2", device, FakePhysicalDevice.self, otherwise: ()) { fake, _ in
            guard let result else { return }
            fake.checkType(
                result.pointee.sType, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, "VkPhysicalDeviceFeatures2")
            let timeline = VkBool32(fake.configuration.hasTimelineSemaphores ? 1 : 0)
            let synchronization2 = VkBool32(fake.configuration.hasSynchronization2 ? 1 : 0)
            let features = fake.features(with: fake.configuration.allDeviceExtensions)
            result.pointee.features = VkPhysicalDeviceFeatures()
            result.pointee.features.textureCompressionBC = 1
            result.pointee.features.textureCompressionETC2 = 1
            result.pointee.features.textureCompressionASTC_LDR = 1
            for (type, address) in chain(result.pointee.pNext) {
                let address = UnsafeMutableRawPointer(mutating: address)
                switch type {
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES:
                    address.assumingMemoryBound(to: VkPhysicalDeviceVulkan12Features.self).pointee.timelineSemaphore =
                        timeline
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES:
                    fake.require(fake.isVersion13, "pNext", "VkPhysicalDeviceVulkan13Features on an older device")
                    address.assumingMemoryBound(to: VkPhysicalDeviceVulkan13Features.self).pointee.synchronization2 =
                        synchronization2
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES:
                    address.assumingMemoryBound(to: VkPhysicalDeviceTimelineSemaphoreFeatures.self).pointee
                        .timelineSemaphore = timeline
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SYNCHRONIZATION_2_FEATURES:
                    address.assumingMemoryBound(to: VkPhysicalDeviceSynchronization2Features.self).pointee
                        .synchronization2 = synchronization2
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES:
                    address.assumingMemoryBound(to: VkPhysicalDeviceBufferDeviceAddressFeatures.self).pointee
                        .bufferDeviceAddress = features.contains(.bufferDeviceAddress) ? 1 : 0
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_DECOMPRESSION_FEATURES_NV:
                    address.assumingMemoryBound(to: VkPhysicalDeviceMemoryDecompressionFeaturesNV.self).pointee
                        .memoryDecompression = features.contains(.memoryDecompression) ? 1 : 0
                case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_5_FEATURES_KHR:
                    address.assumingMemoryBound(to: VkPhysicalDeviceMaintenance5FeaturesKHR.self).pointee
                        .maintenance5 = features.contains(.maintenance5) ? 1 : 0
                default:
                    break
                }
            }
        }
    }

    var isVersion13: Bool { configuration.apiVersion >= PENSTOCK_VK_API_VERSION_1_3 }

    static let vkGetPhysicalDeviceMemoryProperties2: PFN_vkGetPhysicalDeviceMemoryProperties2 = { device, result in
        call("vkGetPhysicalDeviceMemoryProperties2", device, FakePhysicalDevice.self, otherwise: ()) { fake, _ in
            guard let result else { return }
            fake.checkType(
                result.pointee.sType, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                "VkPhysicalDeviceMemoryProperties2")
            let settings = fake.configuration
            let types = settings.memoryTypes.map { VkMemoryType(propertyFlags: $0.flags, heapIndex: UInt32($0.heap)) }
            let heaps = settings.heaps.enumerated().map { index, size in
                let isLocal = settings.memoryTypes.contains {
                    $0.heap == index && $0.has(VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT)
                }
                return VkMemoryHeap(size: size, flags: isLocal ? VK_MEMORY_HEAP_DEVICE_LOCAL_BIT.rawValue : 0)
            }
            var properties = VkPhysicalDeviceMemoryProperties()
            properties.memoryTypeCount = UInt32(types.count)
            properties.memoryHeapCount = UInt32(heaps.count)
            write(types, into: &properties.memoryTypes)
            write(heaps, into: &properties.memoryHeaps)
            result.pointee.memoryProperties = properties
            for (type, address) in chain(result.pointee.pNext)
            where type == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT {
                guard let budget = settings.budget else {
                    fake.report("pNext", "VkPhysicalDeviceMemoryBudgetPropertiesEXT without VK_EXT_memory_budget")
                    continue
                }
                let out = UnsafeMutableRawPointer(mutating: address)
                    .assumingMemoryBound(to: VkPhysicalDeviceMemoryBudgetPropertiesEXT.self)
                write(budget.map(\.budget), into: &out.pointee.heapBudget)
                let usages = budget.enumerated().map { $1.usage + fake.allocatedBytesOfHeap[$0, default: 0] }
                write(usages, into: &out.pointee.heapUsage)
            }
        }
    }

    static let vkGetPhysicalDeviceQueueFamilyProperties: PFN_vkGetPhysicalDeviceQueueFamilyProperties = {
        device, count, room in
        call("vkGetPhysicalDeviceQueueFamilyProperties", device, FakePhysicalDevice.self, otherwise: ()) { fake, _ in
            let families = fake.configuration.queueFamilies.map { family in
                VkQueueFamilyProperties(
                    queueFlags: family.flags, queueCount: family.count, timestampValidBits: 64,
                    minImageTransferGranularity: VkExtent3D(
                        width: family.granularity.0, height: family.granularity.1, depth: family.granularity.2))
            }
            _ = giveOut(families, count, room)
        }
    }

    static let vkEnumerateDeviceExtensionProperties: PFN_vkEnumerateDeviceExtensionProperties = {
        device, _, count, room in
        command("vkEnumerateDeviceExtensionProperties", device, FakePhysicalDevice.self) { fake, _ in
            giveOut(extensionProperties(fake.configuration.allDeviceExtensions), count, room)
        }
    }

    static let vkGetPhysicalDeviceImageFormatProperties: PFN_vkGetPhysicalDeviceImageFormatProperties = {
        device, format, type, _, _, _, result in
        command("vkGetPhysicalDeviceImageFormatProperties", device, FakePhysicalDevice.self) { fake, _ in
            guard ImageFormat(format) != nil else { return VK_ERROR_FORMAT_NOT_SUPPORTED }
            let (height, depth): (UInt32, UInt32) =
                switch type {
                case VK_IMAGE_TYPE_1D: (1, 1)
                case VK_IMAGE_TYPE_2D: (4096, 1)
                default: (4096, 4096)
                }
            result?.pointee = VkImageFormatProperties(
                maxExtent: VkExtent3D(width: 4096, height: height, depth: depth), maxMipLevels: 13,
                maxArrayLayers: type == VK_IMAGE_TYPE_3D ? 1 : 2048, sampleCounts: 1, maxResourceSize: 1 << 31)
            return VK_SUCCESS
        }
    }
}

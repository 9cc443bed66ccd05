import CVulkan

/// What Vulkan offers before there is an instance.
package struct VulkanGlobals: Sendable {
    package let getInstanceProcAddr: PFN_vkGetInstanceProcAddr
    package let createInstance: PFN_vkCreateInstance
    /// Nil on a loader of Vulkan 1.0.
    package let enumerateInstanceVersion: PFN_vkEnumerateInstanceVersion?
    package let enumerateInstanceLayerProperties: PFN_vkEnumerateInstanceLayerProperties
    package let enumerateInstanceExtensionProperties: PFN_vkEnumerateInstanceExtensionProperties

    package init(_ getInstanceProcAddr: PFN_vkGetInstanceProcAddr) throws(VulkanFailure) {
        let table = VulkanLookup { getInstanceProcAddr(nil, $0) }
        self.getInstanceProcAddr = getInstanceProcAddr
        createInstance = try table.need("vkCreateInstance")
        enumerateInstanceVersion = table.find("vkEnumerateInstanceVersion")
        enumerateInstanceLayerProperties = try table.need("vkEnumerateInstanceLayerProperties")
        enumerateInstanceExtensionProperties = try table.need("vkEnumerateInstanceExtensionProperties")
    }
}

/// The functions of one instance that Penstock uses.
package struct InstanceFunctions: Sendable {
    package let destroyInstance: PFN_vkDestroyInstance
    package let enumeratePhysicalDevices: PFN_vkEnumeratePhysicalDevices
    package let getPhysicalDeviceProperties2: PFN_vkGetPhysicalDeviceProperties2
    package let getPhysicalDeviceFeatures2: PFN_vkGetPhysicalDeviceFeatures2
    package let getPhysicalDeviceMemoryProperties2: PFN_vkGetPhysicalDeviceMemoryProperties2
    package let getPhysicalDeviceQueueFamilyProperties: PFN_vkGetPhysicalDeviceQueueFamilyProperties
    package let getPhysicalDeviceImageFormatProperties: PFN_vkGetPhysicalDeviceImageFormatProperties
    package let enumerateDeviceExtensionProperties: PFN_vkEnumerateDeviceExtensionProperties
    package let createDevice: PFN_vkCreateDevice
    package let getDeviceProcAddr: PFN_vkGetDeviceProcAddr
    /// Nil without `VK_EXT_debug_utils`.
    package let createDebugUtilsMessenger: PFN_vkCreateDebugUtilsMessengerEXT?
    package let destroyDebugUtilsMessenger: PFN_vkDestroyDebugUtilsMessengerEXT?

    package init(_ instance: VkInstance, _ getInstanceProcAddr: PFN_vkGetInstanceProcAddr) throws(VulkanFailure) {
        let table = VulkanLookup { getInstanceProcAddr(instance, $0) }
        destroyInstance = try table.need("vkDestroyInstance")
        enumeratePhysicalDevices = try table.need("vkEnumeratePhysicalDevices")
        getPhysicalDeviceProperties2 = try table.need("vkGetPhysicalDeviceProperties2")
        getPhysicalDeviceFeatures2 = try table.need("vkGetPhysicalDeviceFeatures2")
        getPhysicalDeviceMemoryProperties2 = try table.need("vkGetPhysicalDeviceMemoryProperties2")
        getPhysicalDeviceQueueFamilyProperties = try table.need("vkGetPhysicalDeviceQueueFamilyProperties")
        getPhysicalDeviceImageFormatProperties = try table.need("vkGetPhysicalDeviceImageFormatProperties")
        enumerateDeviceExtensionProperties = try table.need("vkEnumerateDeviceExtensionProperties")
        createDevice = try table.need("vkCreateDevice")
        getDeviceProcAddr = try table.need("vkGetDeviceProcAddr")
        createDebugUtilsMessenger = table.find("vkCreateDebugUtilsMessengerEXT")
        destroyDebugUtilsMessenger = table.find("vkDestroyDebugUtilsMessengerEXT")
    }
}

/// The functions of one device that Penstock uses. Those that an extension brought into the core are looked for under
/// both names, since an adopted device may have them under either.
package struct DeviceFunctions: Sendable {
    package let destroyDevice: PFN_vkDestroyDevice
    package let getDeviceQueue: PFN_vkGetDeviceQueue
    package let allocateMemory: PFN_vkAllocateMemory
    package let freeMemory: PFN_vkFreeMemory
    package let mapMemory: PFN_vkMapMemory
    package let flushMappedMemoryRanges: PFN_vkFlushMappedMemoryRanges
    package let invalidateMappedMemoryRanges: PFN_vkInvalidateMappedMemoryRanges
    package let createBuffer: PFN_vkCreateBuffer
    package let destroyBuffer: PFN_vkDestroyBuffer
    package let getBufferMemoryRequirements: PFN_vkGetBufferMemoryRequirements
    package let bindBufferMemory: PFN_vkBindBufferMemory
    package let createImage: PFN_vkCreateImage
    package let destroyImage: PFN_vkDestroyImage
    package let getImageMemoryRequirements: PFN_vkGetImageMemoryRequirements
    package let bindImageMemory: PFN_vkBindImageMemory
    package let createCommandPool: PFN_vkCreateCommandPool
    package let destroyCommandPool: PFN_vkDestroyCommandPool
    package let resetCommandPool: PFN_vkResetCommandPool
    package let allocateCommandBuffers: PFN_vkAllocateCommandBuffers
    package let beginCommandBuffer: PFN_vkBeginCommandBuffer
    package let endCommandBuffer: PFN_vkEndCommandBuffer
    package let cmdPipelineBarrier2: PFN_vkCmdPipelineBarrier2
    package let cmdCopyBuffer2: PFN_vkCmdCopyBuffer2
    package let cmdCopyBufferToImage2: PFN_vkCmdCopyBufferToImage2
    package let cmdCopyImageToBuffer2: PFN_vkCmdCopyImageToBuffer2
    package let queueSubmit2: PFN_vkQueueSubmit2
    package let createSemaphore: PFN_vkCreateSemaphore
    package let destroySemaphore: PFN_vkDestroySemaphore
    package let getSemaphoreCounterValue: PFN_vkGetSemaphoreCounterValue
    package let waitSemaphores: PFN_vkWaitSemaphores
    package let signalSemaphore: PFN_vkSignalSemaphore
    /// Nil without `VK_EXT_external_memory_host`.
    package let getMemoryHostPointerProperties: PFN_vkGetMemoryHostPointerPropertiesEXT?
    /// Nil without `VK_EXT_memory_decompression`.
    package let cmdDecompressMemoryEXT: PFN_vkCmdDecompressMemoryEXT?
    /// Nil without `VK_NV_memory_decompression`.
    package let cmdDecompressMemoryNV: PFN_vkCmdDecompressMemoryNV?
    /// Nil below Vulkan 1.2.
    package let getBufferDeviceAddress: PFN_vkGetBufferDeviceAddress?
    /// Nil where one of them is missing: nothing is decoded on the device then.
    package let compute: ComputeFunctions?

    package init(_ device: VkDevice, _ getDeviceProcAddr: PFN_vkGetDeviceProcAddr) throws(VulkanFailure) {
        let table = VulkanLookup { getDeviceProcAddr(device, $0) }
        destroyDevice = try table.need("vkDestroyDevice")
        getDeviceQueue = try table.need("vkGetDeviceQueue")
        allocateMemory = try table.need("vkAllocateMemory")
        freeMemory = try table.need("vkFreeMemory")
        mapMemory = try table.need("vkMapMemory")
        flushMappedMemoryRanges = try table.need("vkFlushMappedMemoryRanges")
        invalidateMappedMemoryRanges = try table.need("vkInvalidateMappedMemoryRanges")
        createBuffer = try table.need("vkCreateBuffer")
        destroyBuffer = try table.need("vkDestroyBuffer")
        getBufferMemoryRequirements = try table.need("vkGetBufferMemoryRequirements")
        bindBufferMemory = try table.need("vkBindBufferMemory")
        createImage = try table.need("vkCreateImage")
        destroyImage = try table.need("vkDestroyImage")
        getImageMemoryRequirements = try table.need("vkGetImageMemoryRequirements")
        bindImageMemory = try table.need("vkBindImageMemory")
        createCommandPool = try table.need("vkCreateCommandPool")
        destroyCommandPool = try table.need("vkDestroyCommandPool")
        resetCommandPool = try table.need("vkResetCommandPool")
        allocateCommandBuffers = try table.need("vkAllocateCommandBuffers")
        beginCommandBuffer = try table.need("vkBeginCommandBuffer")
        endCommandBuffer = try table.need("vkEndCommandBuffer")
        cmdPipelineBarrier2 = try table.need("vkCmdPipelineBarrier2", or: "vkCmdPipelineBarrier2KHR")
        cmdCopyBuffer2 = try table.need("vkCmdCopyBuffer2", or: "vkCmdCopyBuffer2KHR")
        cmdCopyBufferToImage2 = try table.need("vkCmdCopyBufferToImage2", or: "vkCmdCopyBufferToImage2KHR")
        cmdCopyImageToBuffer2 = try table.need("vkCmdCopyImageToBuffer2", or: "vkCmdCopyImageToBuffer2KHR")
        queueSubmit2 = try table.need("vkQueueSubmit2", or: "vkQueueSubmit2KHR")
        createSemaphore = try table.need("vkCreateSemaphore")
        destroySemaphore = try table.need("vkDestroySemaphore")
        getSemaphoreCounterValue = try table.need("vkGetSemaphoreCounterValue", or: "vkGetSemaphoreCounterValueKHR")
        waitSemaphores = try table.need("vkWaitSemaphores", or: "vkWaitSemaphoresKHR")
        signalSemaphore = try table.need("vkSignalSemaphore", or: "vkSignalSemaphoreKHR")
        getMemoryHostPointerProperties = table.find("vkGetMemoryHostPointerPropertiesEXT")
        cmdDecompressMemoryEXT = table.find("vkCmdDecompressMemoryEXT")
        cmdDecompressMemoryNV = table.find("vkCmdDecompressMemoryNV")
        getBufferDeviceAddress =
            table.find("vkGetBufferDeviceAddress") ?? table.find("vkGetBufferDeviceAddressKHR")
        compute = try? ComputeFunctions(table)
    }
}

/// Looks functions up by name.
struct VulkanLookup {
    let address: (UnsafePointer<CChar>) -> PFN_vkVoidFunction?

    func find<Function>(_ name: String, as type: Function.Type = Function.self) -> Function? {
        // The caller's property has the type that vk.xml gives the function of this name.
        name.withCString(address).map { unsafeBitCast($0, to: type) }
    }

    func need<Function>(_ name: String, or alias: String? = nil) throws(VulkanFailure) -> Function {
        if let function: Function = find(name) { return function }
        if let alias, let function: Function = find(alias) { return function }
        throw VulkanFailure(VK_ERROR_INITIALIZATION_FAILED, name)
    }
}

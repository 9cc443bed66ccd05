import CVulkan

/// Finds functions by name: those that PenstockVulkan calls, and no other.
extension FakeVulkan {
    static let vkGetInstanceProcAddr: PFN_vkGetInstanceProcAddr = { instance, name in
        guard let name = name.map({ String(cString: $0) }) else { return nil }
        if name == "vkGetInstanceProcAddr" { return address(vkGetInstanceProcAddr) }
        guard instance != nil else { return globalFunctions[name] }
        return call("vkGetInstanceProcAddr", instance, FakeInstance.self, otherwise: nil) { fake, instance in
            if name.hasSuffix("DebugUtilsMessengerEXT"), !instance.extensions.contains("VK_EXT_debug_utils") {
                return nil
            }
            return instanceFunctions[name] ?? fake.deviceFunction(name, nil)
        }
    }

    static let vkGetDeviceProcAddr: PFN_vkGetDeviceProcAddr = { device, name in
        guard let name = name.map({ String(cString: $0) }) else { return nil }
        return call("vkGetDeviceProcAddr", device, FakeDevice.self, otherwise: nil) { fake, device in
            name == "vkGetDeviceProcAddr" ? address(vkGetDeviceProcAddr) : fake.deviceFunction(name, device)
        }
    }

    /// A function of the device, if its version or what was enabled has it.
    private func deviceFunction(_ name: String, _ device: FakeDevice?) -> PFN_vkVoidFunction? {
        let extensions = device?.extensions ?? configuration.allDeviceExtensions
        if configuration.missingFunctions.contains(name) { return nil }
        if let function = Self.deviceFunctions[name] { return function }
        if configuration.kernel != nil, let function = Self.computeFunctions[name] { return function }
        if let (provider, function) = Self.decompressionFunctions[name], extensions.contains(provider) {
            return function
        }
        if name == "vkGetMemoryHostPointerPropertiesEXT" {
            return extensions.contains("VK_EXT_external_memory_host")
                ? Self.address(Self.vkGetMemoryHostPointerProperties) : nil
        }
        for (provider, functions) in Self.extensionFunctions {
            if isVersion13 || provider == "VK_KHR_timeline_semaphore", let function = functions[name] {
                return function
            }
            if name.hasSuffix("KHR"), extensions.contains(provider),
                let function = functions[String(name.dropLast("KHR".count))]
            {
                return function
            }
        }
        return nil
    }

    private static func address<Function>(_ function: Function) -> PFN_vkVoidFunction {
        // Who asks for a function by name knows the type that vk.xml gives it.
        unsafeBitCast(function, to: PFN_vkVoidFunction.self)
    }

    private static let globalFunctions: [String: PFN_vkVoidFunction] = [
        "vkCreateInstance": address(vkCreateInstance),
        "vkEnumerateInstanceVersion": address(vkEnumerateInstanceVersion),
        "vkEnumerateInstanceLayerProperties": address(vkEnumerateInstanceLayerProperties),
        "vkEnumerateInstanceExtensionProperties": address(vkEnumerateInstanceExtensionProperties),
    ]

    private static let instanceFunctions: [String: PFN_vkVoidFunction] = [
        "vkDestroyInstance": address(vkDestroyInstance),
        "vkEnumeratePhysicalDevices": address(vkEnumeratePhysicalDevices),
        "vkGetPhysicalDeviceProperties2": address(vkGetPhysicalDeviceProperties2),
        "vkGetPhysicalDeviceFeatures2": address(vkGetPhysicalDeviceFeatures2),
        "vkGetPhysicalDeviceMemoryProperties2": address(vkGetPhysicalDeviceMemoryProperties2),
        "vkGetPhysicalDeviceQueueFamilyProperties": address(vkGetPhysicalDeviceQueueFamilyProperties),
        "vkGetPhysicalDeviceImageFormatProperties": address(vkGetPhysicalDeviceImageFormatProperties),
        "vkEnumerateDeviceExtensionProperties": address(vkEnumerateDeviceExtensionProperties),
        "vkCreateDevice": address(vkCreateDevice),
        "vkGetDeviceProcAddr": address(vkGetDeviceProcAddr),
        "vkCreateDebugUtilsMessengerEXT": address(vkCreateDebugUtilsMessenger),
        "vkDestroyDebugUtilsMessengerEXT": address(vkDestroyDebugUtilsMessenger),
    ]

    private static let deviceFunctions: [String: PFN_vkVoidFunction] = [
        "vkDestroyDevice": address(vkDestroyDevice),
        "vkGetDeviceQueue": address(vkGetDeviceQueue),
        "vkAllocateMemory": address(vkAllocateMemory),
        "vkFreeMemory": address(vkFreeMemory),
        "vkMapMemory": address(vkMapMemory),
        "vkFlushMappedMemoryRanges": address(vkFlushMappedMemoryRanges),
        "vkInvalidateMappedMemoryRanges": address(vkInvalidateMappedMemoryRanges),
        "vkCreateBuffer": address(vkCreateBuffer),
        "vkDestroyBuffer": address(vkDestroyBuffer),
        "vkGetBufferMemoryRequirements": address(vkGetBufferMemoryRequirements),
        "vkBindBufferMemory": address(vkBindBufferMemory),
        "vkGetBufferDeviceAddress": address(vkGetBufferDeviceAddress),
        "vkCreateImage": address(vkCreateImage),
        "vkDestroyImage": address(vkDestroyImage),
        "vkGetImageMemoryRequirements": address(vkGetImageMemoryRequirements),
        "vkBindImageMemory": address(vkBindImageMemory),
        "vkCreateCommandPool": address(vkCreateCommandPool),
        "vkDestroyCommandPool": address(vkDestroyCommandPool),
        "vkResetCommandPool": address(vkResetCommandPool),
        "vkAllocateCommandBuffers": address(vkAllocateCommandBuffers),
        "vkBeginCommandBuffer": address(vkBeginCommandBuffer),
        "vkEndCommandBuffer": address(vkEndCommandBuffer),
        "vkCreateSemaphore": address(vkCreateSemaphore),
        "vkDestroySemaphore": address(vkDestroySemaphore),
    ]

    private static let computeFunctions: [String: PFN_vkVoidFunction] = [
        "vkCreateShaderModule": address(vkCreateShaderModule),
        "vkDestroyShaderModule": address(vkDestroyShaderModule),
        "vkCreateDescriptorSetLayout": address(vkCreateDescriptorSetLayout),
        "vkDestroyDescriptorSetLayout": address(vkDestroyDescriptorSetLayout),
        "vkCreateDescriptorPool": address(vkCreateDescriptorPool),
        "vkDestroyDescriptorPool": address(vkDestroyDescriptorPool),
        "vkAllocateDescriptorSets": address(vkAllocateDescriptorSets),
        "vkUpdateDescriptorSets": address(vkUpdateDescriptorSets),
        "vkCreatePipelineLayout": address(vkCreatePipelineLayout),
        "vkDestroyPipelineLayout": address(vkDestroyPipelineLayout),
        "vkCreateComputePipelines": address(vkCreateComputePipelines),
        "vkDestroyPipeline": address(vkDestroyPipeline),
        "vkCmdBindPipeline": address(vkCmdBindPipeline),
        "vkCmdBindDescriptorSets": address(vkCmdBindDescriptorSets),
        "vkCmdPushConstants": address(vkCmdPushConstants),
        "vkCmdDispatch": address(vkCmdDispatch),
        "vkCmdFillBuffer": address(vkCmdFillBuffer),
    ]

    private static let decompressionFunctions: [String: (provider: String, PFN_vkVoidFunction)] = [
        "vkCmdDecompressMemoryEXT": ("VK_EXT_memory_decompression", address(vkCmdDecompressMemoryEXT)),
        "vkCmdDecompressMemoryNV": ("VK_NV_memory_decompression", address(vkCmdDecompressMemoryNV)),
    ]

    /// By the extension that has them with KHR at the end; the core has them without, timelines since 1.2, the rest
    /// since 1.3.
    private static let extensionFunctions: [String: [String: PFN_vkVoidFunction]] = [
        "VK_KHR_synchronization2": [
            "vkCmdPipelineBarrier2": address(vkCmdPipelineBarrier2),
            "vkQueueSubmit2": address(vkQueueSubmit2),
        ],
        "VK_KHR_copy_commands2": [
            "vkCmdCopyBuffer2": address(vkCmdCopyBuffer2),
            "vkCmdCopyBufferToImage2": address(vkCmdCopyBufferToImage2),
            "vkCmdCopyImageToBuffer2": address(vkCmdCopyImageToBuffer2),
        ],
        "VK_KHR_timeline_semaphore": [
            "vkGetSemaphoreCounterValue": address(vkGetSemaphoreCounterValue),
            "vkWaitSemaphores": address(vkWaitSemaphores),
            "vkSignalSemaphore": address(vkSignalSemaphore),
        ],
    ]
}

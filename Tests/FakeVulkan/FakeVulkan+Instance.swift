import CVulkan

/// Instances and what they say of themselves.
extension FakeVulkan {
    static let vkCreateInstance: PFN_vkCreateInstance = { info, _, result in
        global("vkCreateInstance") { fake in
            guard let info = info?.pointee, let result else { return VK_ERROR_INITIALIZATION_FAILED }
            let layers = strings(info.ppEnabledLayerNames, info.enabledLayerCount)
            guard fake.configuration.layers.isSuperset(of: layers) else { return VK_ERROR_LAYER_NOT_PRESENT }
            let extensions = strings(info.ppEnabledExtensionNames, info.enabledExtensionCount)
            guard fake.configuration.instanceExtensions.isSuperset(of: extensions) else {
                return VK_ERROR_EXTENSION_NOT_PRESENT
            }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, "VkInstanceCreateInfo")
            if let version = info.pApplicationInfo?.pointee.apiVersion {
                fake.require(
                    version >= PENSTOCK_VK_API_VERSION_1_2, "apiVersion", "the instance asks for less than Vulkan 1.2")
            } else {
                fake.report("apiVersion", "without VkApplicationInfo the instance is one of Vulkan 1.0")
            }
            let instance = fake.makeInstance(extensions: Set(extensions))
            fake.born(instance)
            result.pointee = instance.pointer
            return VK_SUCCESS
        }
    }

    func makeInstance(extensions: Set<String>) -> FakeInstance {
        let instance = FakeInstance(self)
        instance.extensions = extensions
        if configuration.hasDevice {
            instance.physicalDevice = FakePhysicalDevice(self)
            // It goes with its instance, never by itself.
            instance.physicalDevice?.isAdopted = true
        }
        return instance
    }

    static let vkDestroyInstance: PFN_vkDestroyInstance = { instance, _ in
        guard instance != nil else { return }
        call("vkDestroyInstance", instance, FakeInstance.self, alone: instance, otherwise: ()) { fake, instance in
            for kind in [Kind.device, .messenger] where fake.liveCounts[kind, default: 0] > 0 {
                fake.report("VUID-vkDestroyInstance-instance-00629", "\(fake.liveCounts[kind]!) \(kind) left")
            }
            if fake.die(instance) { instance.physicalDevice?.isDestroyed = true }
        }
    }

    static let vkEnumerateInstanceVersion: PFN_vkEnumerateInstanceVersion = { result in
        global("vkEnumerateInstanceVersion") { fake in
            result?.pointee = fake.configuration.apiVersion
            return VK_SUCCESS
        }
    }

    static let vkEnumerateInstanceLayerProperties: PFN_vkEnumerateInstanceLayerProperties = { count, room in
        global("vkEnumerateInstanceLayerProperties") { fake in
            let layers = fake.configuration.layers.sorted().map { name in
                var layer = VkLayerProperties()
                write(name, into: &layer.layerName)
                layer.specVersion = fake.configuration.apiVersion
                return layer
            }
            return giveOut(layers, count, room)
        }
    }

    static let vkEnumerateInstanceExtensionProperties: PFN_vkEnumerateInstanceExtensionProperties = { _, count, room in
        global("vkEnumerateInstanceExtensionProperties") { fake in
            giveOut(extensionProperties(fake.configuration.instanceExtensions), count, room)
        }
    }

    static let vkEnumeratePhysicalDevices: PFN_vkEnumeratePhysicalDevices = { instance, count, room in
        command("vkEnumeratePhysicalDevices", instance, FakeInstance.self) { fake, instance in
            let devices: [VkPhysicalDevice?] = instance.physicalDevice.map { [$0.pointer] } ?? []
            return giveOut(devices, count, room)
        }
    }

    static let vkCreateDebugUtilsMessenger: PFN_vkCreateDebugUtilsMessengerEXT = { instance, _, _, result in
        command("vkCreateDebugUtilsMessengerEXT", instance, FakeInstance.self) { fake, instance in
            let messenger = FakeMessenger(fake)
            fake.born(messenger)
            result?.pointee = messenger.pointer
            return VK_SUCCESS
        }
    }

    static let vkDestroyDebugUtilsMessenger: PFN_vkDestroyDebugUtilsMessengerEXT = { instance, messenger, _ in
        guard messenger != nil else { return }
        call("vkDestroyDebugUtilsMessengerEXT", instance, FakeInstance.self, alone: messenger, otherwise: ()) {
            fake, _ in
            if let messenger = fake.resolve(messenger, FakeMessenger.self) { fake.die(messenger) }
        }
    }

    static func extensionProperties(_ names: Set<String>) -> [VkExtensionProperties] {
        names.sorted().map { name in
            var properties = VkExtensionProperties()
            write(name, into: &properties.extensionName)
            properties.specVersion = 1
            return properties
        }
    }

    static func strings(_ start: UnsafePointer<UnsafePointer<CChar>?>?, _ count: UInt32) -> [String] {
        list(start, count).compactMap { $0.map { String(cString: $0) } }
    }
}

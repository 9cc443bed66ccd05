import CVulkan

/// Devices and queues, and ready-made ones for adoption.
extension FakeVulkan {
    static let vkCreateDevice: PFN_vkCreateDevice = { physicalDevice, info, _, result in
        command("vkCreateDevice", physicalDevice, FakePhysicalDevice.self) { fake, _ in
            guard let info = info?.pointee, let result else { return VK_ERROR_INITIALIZATION_FAILED }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, "VkDeviceCreateInfo")
            let extensions = Set(strings(info.ppEnabledExtensionNames, info.enabledExtensionCount))
            guard fake.configuration.allDeviceExtensions.isSuperset(of: extensions) else {
                return VK_ERROR_EXTENSION_NOT_PRESENT
            }
            let timeline =
                link(
                    info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                    as: VkPhysicalDeviceVulkan12Features.self)?.timelineSemaphore
                ?? link(
                    info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
                    as: VkPhysicalDeviceTimelineSemaphoreFeatures.self)?.timelineSemaphore ?? 0
            let synchronization2 =
                link(
                    info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
                    as: VkPhysicalDeviceVulkan13Features.self)?.synchronization2
                ?? link(
                    info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SYNCHRONIZATION_2_FEATURES,
                    as: VkPhysicalDeviceSynchronization2Features.self)?.synchronization2 ?? 0
            if timeline != 0, !fake.configuration.hasTimelineSemaphores { return VK_ERROR_FEATURE_NOT_PRESENT }
            if synchronization2 != 0, !fake.configuration.hasSynchronization2 { return VK_ERROR_FEATURE_NOT_PRESENT }

            let features = fake.features(askedFor: info.pNext, extensions)
            guard fake.features(with: extensions).isSuperset(of: features) else { return VK_ERROR_FEATURE_NOT_PRESENT }

            var counts = [UInt32](repeating: 0, count: fake.configuration.queueFamilies.count)
            for queues in list(info.pQueueCreateInfos, info.queueCreateInfoCount) {
                fake.checkType(queues.sType, VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, "VkDeviceQueueCreateInfo")
                let family = Int(queues.queueFamilyIndex)
                guard
                    fake.require(
                        counts.indices.contains(family), "VUID-VkDeviceQueueCreateInfo-queueFamilyIndex-00381",
                        "no queue family \(family)")
                else { return VK_ERROR_INITIALIZATION_FAILED }
                fake.require(
                    queues.queueCount > 0 && queues.queueCount <= fake.configuration.queueFamilies[family].count,
                    "VUID-VkDeviceQueueCreateInfo-queueCount-00382", "\(queues.queueCount) queues of family \(family)")
                fake.require(
                    counts[family] == 0, "VUID-VkDeviceCreateInfo-queueFamilyIndex-02802",
                    "family \(family) given twice")
                counts[family] = queues.queueCount
            }
            let device = fake.makeDevice(
                extensions: extensions, queues: counts, timeline: timeline != 0, synchronization2: synchronization2 != 0
            )
            device.features = features
            fake.born(device)
            result.pointee = device.pointer
            return VK_SUCCESS
        }
    }

    private func makeDevice(
        extensions: Set<String>, queues: [UInt32], timeline: Bool, synchronization2: Bool
    ) -> FakeDevice {
        let device = FakeDevice(self)
        device.extensions = extensions
        device.hasTimelineSemaphores = timeline
        device.hasSynchronization2 = synchronization2
        device.queues = queues.enumerated().map { family, count in
            (0..<count).map { _ in FakeQueue(self, device, family: UInt32(family)) }
        }
        self.queues += device.queues.joined()
        return device
    }

    static let vkDestroyDevice: PFN_vkDestroyDevice = { device, _ in
        guard device != nil else { return }
        call("vkDestroyDevice", device, FakeDevice.self, alone: device, otherwise: ()) { fake, device in
            for (kind, count) in device.children where count != 0 && kind != .commandBuffer {
                fake.report("VUID-vkDestroyDevice-device-05137", "\(count) \(kind) left")
            }
            for queue in device.queues.joined() {
                fake.require(queue.pending.isEmpty, "in use", "\(queue.name) has submissions that are not done")
            }
            guard fake.die(device) else { return }
            for queue in device.queues.joined() {
                queue.pending.removeAll()
                queue.isDestroyed = true
            }
            fake.queues.removeAll { $0.device === device }
        }
    }

    static let vkGetDeviceQueue: PFN_vkGetDeviceQueue = { device, family, index, result in
        call("vkGetDeviceQueue", device, FakeDevice.self, otherwise: ()) { fake, device in
            fake.require(
                !device.isAdopted, "adopted", "a queue of an adopted device must be given, not fetched")
            guard Int(family) < device.queues.count, Int(index) < device.queues[Int(family)].count else {
                fake.report("VUID-vkGetDeviceQueue-queueFamilyIndex-00384", "no queue \(index) of family \(family)")
                result?.pointee = nil
                return
            }
            result?.pointee = device.queues[Int(family)][Int(index)].pointer
        }
    }

    /// What an application would hand to the library: the library must not destroy any of it.
    package struct Handles: @unchecked Sendable {
        // `OpaquePointer`s, which are not `Sendable`; these are numbers that nothing reads through.
        package let instance: OpaquePointer
        package let physicalDevice: OpaquePointer
        package let device: OpaquePointer
        /// By queue family and index.
        package let queues: [[OpaquePointer]]

        /// The first queue of the first family.
        package var queue: OpaquePointer { queues[0][0] }
        /// The first queue of the last family.
        package var transferQueue: OpaquePointer { queues[queues.count - 1][0] }
    }

    /// Makes an instance, a device and all of its queues, as an application would have that now adopts the library.
    ///
    /// - Parameter extensions: the device extensions that the application enabled; nil: all that there are.
    package func makeHandles(
        enabling extensions: Set<String>? = nil, timelineSemaphores: Bool = true, synchronization2: Bool = true
    ) -> Handles {
        locked { fake in
            fake.function = "makeHandles"
            let instance = fake.makeInstance(extensions: fake.configuration.instanceExtensions)
            let physicalDevice = instance.physicalDevice ?? FakePhysicalDevice(fake)
            let device = fake.makeDevice(
                extensions: extensions ?? fake.configuration.allDeviceExtensions,
                queues: fake.configuration.queueFamilies.map(\.count), timeline: timelineSemaphores,
                synchronization2: synchronization2)
            device.features = fake.features(with: device.extensions)
            for object in [instance, physicalDevice, device] + Array(device.queues.joined()) { object.isAdopted = true }
            return Handles(
                instance: instance.pointer, physicalDevice: physicalDevice.pointer, device: device.pointer,
                queues: device.queues.map { $0.map(\.pointer) })
        }
    }
}

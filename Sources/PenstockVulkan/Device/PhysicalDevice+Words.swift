import CVulkan
import Penstock

/// What Vulkan says, in words: for `penstock doctor`.
extension PhysicalDevice {
    /// What sort of device it is.
    package var kind: String {
        switch type {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: "discrete GPU"
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: "integrated GPU"
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: "virtual GPU"
        case VK_PHYSICAL_DEVICE_TYPE_CPU: "CPU"
        default: "other"
        }
    }

    /// The Vulkan version that the device has: `1.3.230`.
    package var version: String { VulkanLoader.inWords(apiVersion) }

    /// What of it decodes pages of GDeflate.
    package var gdeflate: String {
        let family = queueFamilies.first(where: \.canTransfer)
        guard family?.has(VK_QUEUE_COMPUTE_BIT) == true else { return "not decoded: its queue does not compute" }
        return "a compute shader" + (memoryDecompression.map { ", and \($0.rawValue) for verified chunks" } ?? "")
    }

    /// Why no device of ours can be made of it; nil: one can.
    package var obstacle: String? {
        let lacking = [
            (apiVersion >= PENSTOCK_VK_API_VERSION_1_3, "Vulkan 1.3"),
            (hasTimelineSemaphores, "timelineSemaphore"), (hasSynchronization2, "synchronization2"),
            (queueFamilies.contains(where: \.canTransfer), "a queue that can copy"),
        ].filter { !$0.0 }.map(\.1)
        return lacking.isEmpty ? nil : "lacks " + lacking.joined(separator: ", ")
    }
}

extension PhysicalDevice.MemoryType {
    /// Its properties, shortened: `device-local`, `host-visible`, …
    package var properties: [String] {
        [
            (VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, "device-local"),
            (VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, "host-visible"),
            (VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, "coherent"), (VK_MEMORY_PROPERTY_HOST_CACHED_BIT, "cached"),
            (VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT, "lazily-allocated"),
            (VK_MEMORY_PROPERTY_PROTECTED_BIT, "protected"),
        ].filter { has($0.0) }.map(\.1)
    }
}

extension PhysicalDevice.QueueFamily {
    /// What its queues can do.
    package var abilities: [String] {
        [
            (VK_QUEUE_GRAPHICS_BIT, "graphics"), (VK_QUEUE_COMPUTE_BIT, "compute"), (VK_QUEUE_TRANSFER_BIT, "transfer"),
            (VK_QUEUE_SPARSE_BINDING_BIT, "sparse"), (VK_QUEUE_PROTECTED_BIT, "protected"),
        ].filter { has($0.0) }.map(\.1)
    }

    /// Texels that image copies keep to, in each direction; zeros: whole mip levels only.
    package var granularityInTexels: [UInt32] { [granularity.width, granularity.height, granularity.depth] }
}

extension VulkanLoader {
    /// The version of Vulkan that the system's loader has, and whether it finds `VK_LAYER_KHRONOS_validation`.
    ///
    /// - Throws: ``Penstock/StorageError/Code/unavailable`` without a loader; the message says what to install.
    package static func survey() throws(StorageError) -> (version: String, hasValidation: Bool) {
        let loader = try open()
        do throws(VulkanFailure) {
            let globals = try VulkanGlobals(loader)
            // A loader without the function is one of Vulkan 1.0.
            var version: UInt32 = 1 << 22
            _ = globals.enumerateInstanceVersion?(&version)
            return (inWords(version), try layers(globals).contains(OwnedInstance.validationLayer))
        } catch {
            throw error.error(.setUp)
        }
    }

    /// A version as Vulkan packs it: `1.3.239`.
    static func inWords(_ version: UInt32) -> String {
        let (major, minor) = (penstock_vk_version_major(version), penstock_vk_version_minor(version))
        return "\(major).\(minor).\(penstock_vk_version_patch(version))"
    }

    private static func layers(_ globals: VulkanGlobals) throws(VulkanFailure) -> [String] {
        var count: UInt32 = 0
        let command = "vkEnumerateInstanceLayerProperties"
        try check(globals.enumerateInstanceLayerProperties(&count, nil), command)
        var list = [VkLayerProperties](repeating: VkLayerProperties(), count: Int(count))
        try check(globals.enumerateInstanceLayerProperties(&count, &list), command)
        return list.prefix(Int(count)).map { string($0.layerName) }
    }
}

import CVulkan
import Penstock

/// A Vulkan command that failed, and what it said.
package struct VulkanFailure: Error, Sendable {
    package let result: VkResult
    /// The command's name.
    package let command: String

    package init(_ result: VkResult, _ command: String) {
        self.result = result
        self.command = command
    }

    /// The failure as users see it.
    package func error(_ operation: StorageError.Operation, length: Int? = nil) -> StorageError {
        StorageError(
            StorageError.Code(result.failureKind), operation, length: length, vulkanResult: result.rawValue,
            message: message)
    }

    private var message: String {
        switch result {
        case VK_ERROR_DEVICE_LOST: "the GPU was lost (\(command)); make a new device and a new queue for it"
        case VK_ERROR_OUT_OF_DEVICE_MEMORY: "the GPU is out of memory (\(command)); free some buffers"
        case VK_ERROR_OUT_OF_HOST_MEMORY: "out of memory (\(command))"
        case VK_ERROR_INCOMPATIBLE_DRIVER: VulkanLoader.noDevice
        case VK_ERROR_LAYER_NOT_PRESENT: "a Vulkan layer is missing; install vulkan-validationlayers"
        case VK_ERROR_EXTENSION_NOT_PRESENT: "the device lacks an extension (\(command))"
        case VK_ERROR_FEATURE_NOT_PRESENT:
            "the device lacks timelineSemaphore or synchronization2; a driver of Vulkan 1.3 has both"
        default: "\(command) failed"
        }
    }
}

extension VkResult {
    var failureKind: StorageError.Code.Kind {
        switch self {
        case VK_ERROR_DEVICE_LOST: .deviceLost
        case VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_TOO_MANY_OBJECTS: .deviceMemory
        case VK_ERROR_OUT_OF_HOST_MEMORY: .outOfMemory
        case VK_ERROR_INCOMPATIBLE_DRIVER, VK_ERROR_LAYER_NOT_PRESENT, VK_ERROR_EXTENSION_NOT_PRESENT,
            VK_ERROR_FEATURE_NOT_PRESENT, VK_ERROR_INITIALIZATION_FAILED:
            .unavailable
        default: .device
        }
    }
}

/// Throws unless the command succeeded. `VK_INCOMPLETE`, `VK_TIMEOUT` and the like are positive, and no failures.
func check(_ result: VkResult, _ command: String) throws(VulkanFailure) {
    if result.rawValue < 0 { throw VulkanFailure(result, command) }
}

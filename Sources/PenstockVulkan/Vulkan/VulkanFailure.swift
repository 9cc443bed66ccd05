import CVulkan

/// A Vulkan command that failed, and what it said.
package struct VulkanFailure: Error, Sendable {
    package let result: VkResult
    /// The command's name.
    package let command: String

    package init(_ result: VkResult, _ command: String) {
        self.result = result
        self.command = command
    }
}

/// Throws unless the command succeeded. `VK_INCOMPLETE`, `VK_TIMEOUT` and the like are positive, and no failures.
func check(_ result: VkResult, _ command: String) throws(VulkanFailure) {
    if result.rawValue < 0 { throw VulkanFailure(result, command) }
}

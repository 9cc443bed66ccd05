import CVulkan
import Penstock

extension GPUDevice {
    /// Has a timeline semaphore of the application's reach a value, from the host. `vkSignalSemaphore`.
    ///
    /// - Throws: ``Penstock/StorageError/Code/invalidArgument`` when the semaphore has reached the value already: signalling
    ///   it again is undefined (VUID-VkSemaphoreSignalInfo-value-03258), and loses some devices.
    package func signal(_ semaphore: OpaquePointer, _ value: UInt64) throws(StorageError) {
        guard let reached = Timeline.value(of: semaphore, self) else { throw StorageError(.deviceLost, .copy) }
        guard reached < value else {
            throw StorageError(
                .invalidArgument, .copy,
                message: "a timeline semaphore at \(reached) cannot be signalled with \(value); values must rise")
        }
        var info = VkSemaphoreSignalInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO
        info.semaphore = semaphore
        info.value = value
        let result = functions.signalSemaphore(device, &info)
        note(result)
        guard result == VK_SUCCESS else { throw VulkanFailure(result, "vkSignalSemaphore").error(.copy) }
    }
}

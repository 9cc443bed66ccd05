import CVulkan
import Penstock

/// A timeline semaphore of a device.
final class Timeline: @unchecked Sendable {  // the handle is for any thread
    let handle: VkSemaphore
    private let device: GPUDevice

    init(_ device: GPUDevice) throws(VulkanFailure) {
        var type = VkSemaphoreTypeCreateInfo()
        type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO
        type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE
        var info = VkSemaphoreCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO
        var handle: VkSemaphore?
        let result = withUnsafePointer(to: &type) { type in
            info.pNext = UnsafeRawPointer(type)
            return device.functions.createSemaphore(device.device, &info, nil, &handle)
        }
        try check(result, "vkCreateSemaphore")
        self.handle = handle!
        self.device = device
    }

    /// Nothing waits for it or signals it any more.
    func destroy() { device.functions.destroySemaphore(device.device, handle, nil) }

    /// The value it has reached; nil: the device is lost.
    var value: UInt64? { Self.value(of: handle, device) }

    static func value(of handle: VkSemaphore, _ device: GPUDevice) -> UInt64? {
        var value: UInt64 = 0
        var result = device.functions.getSemaphoreCounterValue(device.device, handle, &value)
        // Some drivers say that they are lost in this way only; no timeline gets so far otherwise.
        if result == VK_SUCCESS, value == .max { result = VK_ERROR_DEVICE_LOST }
        device.note(result)
        return result == VK_SUCCESS ? value : nil
    }

    /// Waits until the value is reached, or so many nanoseconds have passed.
    func wait(for value: UInt64, _ nanoseconds: UInt64) -> VkResult {
        var semaphore: VkSemaphore? = handle
        var value = value
        return withUnsafePointer(to: &semaphore) { semaphore in
            withUnsafePointer(to: &value) { value in
                var info = VkSemaphoreWaitInfo()
                info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO
                info.semaphoreCount = 1
                info.pSemaphores = semaphore
                info.pValues = value
                return device.functions.waitSemaphores(device.device, &info, nanoseconds)
            }
        }
    }

    func signal(_ value: UInt64) {
        var info = VkSemaphoreSignalInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO
        info.semaphore = handle
        info.value = value
        device.note(device.functions.signalSemaphore(device.device, &info))
    }
}

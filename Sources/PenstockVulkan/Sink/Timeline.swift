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
    var value: UInt64? {
        let value = Self.value(of: handle, device)
        // Some drivers say that they are lost in this way only; no timeline of a queue's own gets so far otherwise.
        guard value == .max else { return value }
        device.note(VK_ERROR_DEVICE_LOST)
        return nil
    }

    /// The same of one that may be the application's.
    static func value(of handle: VkSemaphore, _ device: GPUDevice) -> UInt64? {
        var value: UInt64 = 0
        let result = device.functions.getSemaphoreCounterValue(device.device, handle, &value)
        device.note(result)
        return result == VK_SUCCESS ? value : nil
    }

    /// Waits until the value is reached, or so many nanoseconds have passed.
    func wait(for value: UInt64, _ nanoseconds: UInt64) -> VkResult {
        Self.wait(for: GPUSemaphorePoint(handle, value), nanoseconds, device)
    }

    /// The same of one that may be the application's.
    static func wait(for point: GPUSemaphorePoint, _ nanoseconds: UInt64, _ device: GPUDevice) -> VkResult {
        var semaphore: VkSemaphore? = point.semaphore
        var value = point.value
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
}

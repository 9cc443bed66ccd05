/// Who may touch the `VkQueue` that copies are submitted to, and when.
public enum SubmitMode: Sendable {
    /// Nobody else submits to it.
    case exclusive
    /// Others do: Penstock calls `lock` before each submission and `unlock` after it, on its own thread, and holds the
    /// lock for the one call only. The lock need not be recursive.
    case locked(lock: @Sendable () -> Void, unlock: @Sendable () -> Void)
    /// The queue was made with `VK_DEVICE_QUEUE_CREATE_INTERNALLY_SYNCHRONIZED_BIT_KHR`: any thread may use it at any time.
    case internallySynchronized
    /// Penstock never submits: the application has it record what waits into a command buffer of its own, with
    /// ``Penstock/StorageQueue/recordTransfers(to:into:)``, and submits that.
    case recorded
}

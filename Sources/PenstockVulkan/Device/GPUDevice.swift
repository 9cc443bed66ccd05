import CVulkan
import Penstock
import Synchronization

/// A Vulkan device that queues stream to and from: the application's own, or one made for tools and tests.
///
/// ```swift
/// let device = try GPUDevice()                                    // a device of its own, or:
/// let device = try GPUDevice(adopting: .init(                     // the engine's
///     instance: instance, physicalDevice: gpu, device: device, queue: transferQueue, queueFamily: 1))
///
/// let meshes = try device.makeBuffer(byteCount: 64 << 20)
/// try await queue.read(from: file, into: meshes[0..<1 << 20])
/// ```
///
/// An adopted device's handles are never destroyed; they must live until every queue that has used the device has shut down
/// and the `GPUDevice` and its buffers are gone.
public final class GPUDevice: Sendable {
    // Handles that any thread may pass to Vulkan; what must be synchronized, the queue, is used by `submit` alone.
    /// The `VkInstance`.
    public nonisolated(unsafe) let instance: OpaquePointer
    /// The `VkPhysicalDevice`.
    public nonisolated(unsafe) let physicalDevice: OpaquePointer
    /// The `VkDevice`.
    public nonisolated(unsafe) let device: OpaquePointer
    /// The `VkQueue` that copies are submitted to.
    public nonisolated(unsafe) let queue: OpaquePointer
    /// The family of ``queue``.
    public let queueFamily: UInt32
    /// Whether the handles belong to the application.
    public let isAdopted: Bool

    package let functions: DeviceFunctions
    package let physical: PhysicalDevice
    let submitMode: SubmitMode
    /// Families that share what the device makes; fewer than two: nobody but ``queueFamily`` uses it.
    let sharingFamilies: [UInt32]
    /// Whether host memory can be imported: the extension is enabled, and its function is there.
    package let canImport: Bool
    /// How the device decodes pages that are known to be sound; nil: like others, with a shader.
    let decompression: MemoryDecompression?
    /// Whether files are read straight into memory that host and GPU share.
    public let landsDirectly: Bool
    /// Nobody sleeps for the device: the application asks, with `StorageQueue.poll()`.
    let pollsCompletions: Bool
    let owned: OwnedInstance?
    let instanceFunctions: InstanceFunctions
    let heap: GPUHeap
    /// Made when somebody first asks whether the device decodes; within, nil: it cannot be made.
    private let decoder = Locked<DecodePipeline??>(nil)
    private let lost = Atomic<Bool>(false)
    private let queueLock = Locked(false)

    /// The device's name, as its driver gives it.
    public var name: String { physical.name }

    init(_ parts: Parts) throws(StorageError) {
        instance = parts.instance
        physicalDevice = parts.physical.handle
        device = parts.device
        queue = parts.queue
        queueFamily = parts.queueFamily
        isAdopted = parts.owned == nil
        physical = parts.physical
        submitMode = parts.submitMode
        sharingFamilies = parts.sharingFamilies
        landsDirectly = parts.landsDirectly
        pollsCompletions = parts.pollsCompletions
        owned = parts.owned
        functions = parts.functions
        instanceFunctions = parts.instanceFunctions
        canImport =
            parts.mayImport && parts.functions.getMemoryHostPointerProperties != nil
            && parts.physical.importAlignment.map { $0 <= SlabArena.slabSize } ?? false
        decompression =
            parts.decompression.lazy.filter(parts.physical.offers)
            .compactMap { MemoryDecompression($0, parts.functions) }.first
        heap = GPUHeap(
            device: parts.device, functions: parts.functions, instanceFunctions: parts.instanceFunctions,
            physical: parts.physical, hasMemoryBudget: parts.hasMemoryBudget, configuredBudget: parts.memoryBudget,
            hasAddresses: decompression != nil)
    }

    /// What a device is put together from.
    struct Parts {
        var instance: VkInstance
        var physical: PhysicalDevice
        var device: VkDevice
        var queue: VkQueue
        var queueFamily: UInt32
        var functions: DeviceFunctions
        var instanceFunctions: InstanceFunctions
        var submitMode: SubmitMode
        var sharingFamilies: [UInt32] = []
        var mayImport: Bool
        var landsDirectly: Bool
        var hasMemoryBudget: Bool
        var memoryBudget: Int?
        /// What is enabled.
        var decompression: [MemoryDecompression.Extension] = []
        var pollsCompletions = false
        var owned: OwnedInstance?
    }

    deinit {
        // Buffers, images and sinks hold the device, so nothing of it is in use.
        decoder.withLock { $0??.destroy() }
        heap.destroy()
        guard let owned else { return }
        functions.destroyDevice(device, nil)
        owned.destroy()
    }

    // MARK: Submitting

    /// Whether the device has been lost: for good.
    public var isLost: Bool { lost.load(ordering: .relaxed) }

    /// Notes what a command said; a lost device stays lost.
    func note(_ result: VkResult) {
        if result == VK_ERROR_DEVICE_LOST { lost.store(true, ordering: .relaxed) }
    }

    /// `vkQueueSubmit2`, with the queue to itself as its owner wants it.
    func submit(_ info: UnsafePointer<VkSubmitInfo2>) -> VkResult {
        let result: VkResult
        switch submitMode {
        case .exclusive:
            // Several storage queues may share the device.
            result = queueLock.withLock { _ in functions.queueSubmit2(queue, 1, info, nil) }
        case .locked(let lock, let unlock):
            lock()
            result = functions.queueSubmit2(queue, 1, info, nil)
            unlock()
        case .internallySynchronized:
            result = functions.queueSubmit2(queue, 1, info, nil)
        case .recorded:
            preconditionFailure("in this mode the application submits")
        }
        note(result)
        return result
    }

    var submits: Bool { if case .recorded = submitMode { false } else { true } }
}

/// The family's rules for image copies, and how the device's memory is shared.
extension GPUDevice {
    var family: PhysicalDevice.QueueFamily { physical.queueFamilies[Int(queueFamily)] }

    /// Whether the queue can be given compute shaders.
    var runsShaders: Bool { family.has(VK_QUEUE_COMPUTE_BIT) && functions.compute != nil }

    /// The shader that decodes pages; nil: the queue's family cannot run it, or the driver does not take it.
    var decodePipeline: DecodePipeline? {
        guard runsShaders, let compute = functions.compute else { return nil }
        return decoder.withLock { decoder in
            if let made = decoder { return made }
            do throws(VulkanFailure) {
                let made = try DecodePipeline(device, compute)
                decoder = .some(made)
                return made
            } catch {
                note(error.result)
                decoder = .some(nil)
                return nil
            }
        }
    }
}

import CVulkan
import Penstock
import Synchronization

/// One queue's way to one device: staging, batched copies, and a timeline that says what is done.
///
/// Everything but `staging`, `features` and the timeline's handle belongs to the ring thread.
final class GPUSink: StorageSink, @unchecked Sendable {  // the engine's thread makes every call, see ``StorageSink``
    /// Work that may not go to the device yet.
    struct Held {
        var work: SinkWork
        var copy: SinkCopy
        var details: TransferDetails
    }

    /// Bytes that the device writes where the host does not see them at once.
    final class Readback {
        let slab: StagingSlabs.Slab
        let memory: UnsafeMutableRawPointer
        let count: Int

        init(slab: StagingSlabs.Slab, memory: UnsafeMutableRawPointer, count: Int) {
            self.slab = slab
            self.memory = memory
            self.count = count
        }
    }

    /// Work that is on the device.
    struct InFlight {
        var token: UInt32
        /// Staging that goes back when the device is done; nil: the engine holds it.
        var block: SlabArena.Block?
        var readback: Readback?
        var details: TransferDetails?
        /// Its result has been given already.
        var isReported = false
        /// It is its request's last.
        var isLast = false
        /// It brings its image into the layout for copies.
        var begins = false
        /// It brings its image out of that layout again; the work that does so.
        var ending: SinkWork?
        /// It only ends what has failed already, in this way.
        var failure: SinkResult?
        /// Its pages in the submission's slot.
        var pages = 0..<0
        /// What its pages are of, and how much they hold.
        var decoding: SinkDecoding?
        var decodedBytes = 0
    }

    struct Submission {
        var value: UInt64
        /// Nil: the application's own.
        var command: Int?
        /// What it signals of the application's.
        var signals: [GPUSemaphorePoint]
        var work: [InFlight]
        /// Where it decodes, if it does.
        var slot: DecodeSlot?
        /// When it was handed over, by `linux_monotonic_ns`; 0: nobody knows, or nobody asks.
        var submittedAt: UInt64 = 0
    }

    let device: GPUDevice
    let timeline: Timeline
    let waiter: TimelineWaiter
    /// Waits for the application's semaphores; made when one is first waited for.
    var afterWaiter: TimelineWaiter?
    let environment: SinkEnvironment
    let slabs: StagingSlabs
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var commands: CommandRing
    let features: [Capabilities.Feature]

    var staging: SlabArena { slabs.arena }

    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var uploads = CopyBatch()
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var downloads = CopyBatch()
    var imageUploads = ImageBatch()
    var imageDownloads = ImageBatch()
    var layouts = LayoutChanges()
    /// Changes of owner, and of layout once the submission is recorded.
    var barriersBefore = BarrierBatch()
    var barriersAfter = BarrierBatch()
    /// What the batches are made of.
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var pending: [InFlight] = []
    var waits: [GPUSemaphorePoint] = []
    var signals: [GPUSemaphorePoint] = []
    /// Work whose `after` has not been reached: no submission may wait for it, since others' would wait behind it.
    var held: [Held] = []
    var nextHeld = 0
    /// Where pages are decoded, made when they are first needed; those that are not in use, and the one that is filled.
    var decodeSlots: [DecodeSlot] = []
    var freeDecodeSlots: [DecodeSlot] = []
    var decodes: DecodeBatch?
    /// Work of requests with pages, for which there is no room, and what came after it.
    var waitingForSlot: [Held] = []
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var inFlight: [Submission] = []
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var results: [SinkResult] = []
    var spareWork: [[InFlight]] = []
    var lastValue: UInt64 = 0
    /// When a submission was last seen to end, by `linux_monotonic_ns`.
    var lastEnd: UInt64 = 0
    var isOpen = true
    var isStopping = false

    /// While the device has work enough, copies gather until they are worth a submission of their own.
    static let enoughSubmissions = 2
    /// Copies take longer than their submission from about here on.
    static let worthwhileBytes = 128 << 10
    static let flushBytes = 2 << 20
    static let flushCount = 512

    /// How long the waiter sleeps before it looks whether it is to end: a driver may forget to wake it when a device is lost.
    static let ownPatience: UInt64 = 1_000_000_000
    /// How soon a wait for one semaphore of the application's gives way to another: nanoseconds.
    static let afterPatience: UInt64 = 1_000_000

    init(_ device: GPUDevice, _ environment: SinkEnvironment) throws(StorageError) {
        guard !device.isLost else { throw VulkanFailure(VK_ERROR_DEVICE_LOST, "an earlier command").error(.setUp) }
        self.device = device
        self.environment = environment
        slabs = try StagingSlabs(device, limit: environment.stagingBytes, environment.slabSource)
        do throws(VulkanFailure) {
            timeline = try Timeline(device)
            do throws(VulkanFailure) {
                commands = try CommandRing(device)
            } catch {
                timeline.destroy()
                throw error
            }
        } catch {
            device.note(error.result)
            throw error.error(.setUp)
        }
        do throws(StorageError) {
            waiter = try TimelineWaiter(
                device, name: "\(environment.name.prefix(11))-gpu", patience: Self.ownPatience,
                wake: environment.wake)
        } catch {
            commands.destroy(device)
            timeline.destroy()
            throw error
        }
        features = Self.features(of: device, imports: slabs.imports)
    }

    deinit { close() }

    func close() {
        guard isOpen else { return }
        isOpen = false
        waiter.stop()
        afterWaiter?.stop()
        for slot in decodeSlots { slot.destroy() }
        decodeSlots = []
        slabs.destroy()
        staging.retire()
        commands.destroy(device)
        timeline.destroy()
    }

    // MARK: Capabilities

    private static func features(of device: GPUDevice, imports: Bool) -> [Capabilities.Feature] {
        let verified = device.decompression.map { ", verified pages by \($0.kind.rawValue)" } ?? ""
        return [
            .init(
                "GPU", isAvailable: true, rung: device.name,
                reason: device.isAdopted ? "the application's device" : "a device of its own"),
            .init(
                "GPU staging", isAvailable: imports,
                rung: imports ? "slabs imported into Vulkan" : "memory allocated by Vulkan",
                reason: imports
                    ? nil : device.canImport ? "the driver refuses host memory" : "no VK_EXT_external_memory_host",
                advice: imports || !device.isAdopted
                    ? nil : "enable VK_EXT_external_memory_host when making the VkDevice"),
            .init(
                "GPU landing", isAvailable: device.landsDirectly,
                rung: device.landsDirectly ? "straight into memory that the host sees" : "staged",
                reason: device.landsDirectly ? "where a buffer has such memory; else staged" : "switched off"),
            .init(
                "GPU decoding", isAvailable: device.runsShaders,
                rung: device.runsShaders ? "GDeflate by a compute shader" + verified : "none",
                reason: device.runsShaders
                    ? nil
                    : device.functions.compute == nil
                        ? "Vulkan's compute functions are missing" : "the queue's family does not compute",
                advice: device.runsShaders || !device.isAdopted
                    ? nil : "adopt a queue of a family with VK_QUEUE_COMPUTE_BIT"),
        ]
    }
}

extension SinkResult {
    init(token: UInt32, _ failure: VulkanFailure) {
        self.init(token: token, failure: failure.result.failureKind, deviceResult: failure.result.rawValue)
    }
}

extension GPUDevice: SinkDevice {
    package func makeSink(_ environment: SinkEnvironment) throws(StorageError) -> any StorageSink {
        try GPUSink(self, environment)
    }

    package var isHost: Bool { physical.type == VK_PHYSICAL_DEVICE_TYPE_CPU }

    package func canDecode(_ format: UInt32) -> Bool {
        format == SinkDecoding.gdeflatePage && !isLost && decodePipeline != nil
    }

    package func decompresses(_ format: UInt32) -> Bool { decompression != nil && canDecode(format) }
}

import CVulkan
import FakeVulkan
import Glibc
import Penstock
import PenstockTesting
import PenstockVulkan
import TestSupport
import Testing

/// A storage queue and an adopted device on a fake machine, which at the end must have nothing to complain about, and
/// nothing left of what was made on it.
struct FakeMachine: Sendable {
    let rig: FakeRig
    let device: GPUDevice
    let queue: StorageQueue
    private let semaphores = Log<VkSemaphoreNumber>()

    /// A handle as a number.
    private struct VkSemaphoreNumber: @unchecked Sendable { let handle: VkSemaphore }

    var fake: FakeVulkan { rig.fake }

    /// Runs the body, shuts the queue down, lets go of the device, and looks at what the fake says.
    ///
    /// - Parameters:
    ///   - disk: Where files are; nil: where the kernel has them.
    ///   - isOwned: The device is one of Penstock's own, which is made of all that the fake has.
    ///   - adopting: Changes how the device is adopted: all that the fake has is enabled, and its last family's queue used.
    static func run(
        _ configuration: FakeVulkan.Configuration = .init(), disk: SimulatedDisk? = nil, isOwned: Bool = false,
        adopting: (inout GPUDevice.Adoption, FakeRig) -> Void = { _, _ in },
        queue: (inout StorageQueue.Configuration) -> Void = { _ in },
        sourceLocation: SourceLocation = #_sourceLocation, _ body: (FakeMachine) async throws -> Void
    ) async throws {
        let rig = try FakeRig(configuration)
        do {
            let device = try isOwned ? owned(rig) : GPUDevice(adopting: adoption(rig, adopting))
            try await run(rig, device, disk, queue, body)
        }
        await expectClean(rig.fake, sourceLocation)
    }

    private static func owned(_ rig: FakeRig) throws -> GPUDevice {
        var configuration = GPUDevice.Configuration()
        configuration.functionLoader = rig.fake.getInstanceProcAddr
        return try rig.fake.withCurrent { try GPUDevice(configuration) }
    }

    static func adoption(
        _ rig: FakeRig, _ change: (inout GPUDevice.Adoption, FakeRig) -> Void = { _, _ in }
    ) -> GPUDevice.Adoption {
        var adoption = GPUDevice.Adoption(
            instance: rig.handles.instance, physicalDevice: rig.handles.physicalDevice, device: rig.handles.device,
            queue: rig.handles.transferQueue, queueFamily: UInt32(rig.fake.configuration.queueFamilies.count - 1))
        adoption.functionLoader = rig.fake.getInstanceProcAddr
        if rig.fake.configuration.hasExternalMemoryHost { adoption.enabled.insert(.externalMemoryHost) }
        if rig.fake.configuration.budget != nil { adoption.enabled.insert(.memoryBudget) }
        let extensions = rig.fake.configuration.deviceExtensions
        if extensions.contains("VK_EXT_memory_decompression") { adoption.enabled.insert(.memoryDecompression) }
        if extensions.contains("VK_NV_memory_decompression") { adoption.enabled.insert(.memoryDecompressionNV) }
        change(&adoption, rig)
        return adoption
    }

    private static func run(
        _ rig: FakeRig, _ device: GPUDevice, _ disk: SimulatedDisk?,
        _ change: (inout StorageQueue.Configuration) -> Void,
        _ body: (FakeMachine) async throws -> Void
    ) async throws {
        var configuration = StorageQueue.Configuration()
        configuration.name = "on-fake"
        change(&configuration)
        let queue =
            if let disk { try StorageQueue(simulating: disk, configuration) } else { try StorageQueue(configuration) }
        let machine = FakeMachine(rig: rig, device: device, queue: queue)
        do {
            try await body(machine)
        } catch {
            // What a failed test has left on the device must not keep the queue for ever.
            rig.fake.releaseSignals()
            rig.fake.setExecution(.automatic)
            await machine.close()
            throw error
        }
        await machine.close()
    }

    private func close() async {
        await queue.shutdown()
        for semaphore in semaphores.all { rig.vk.destroySemaphore(rig.device, semaphore.handle, nil) }
    }

    /// Tasks let go of what they captured a little after they have ended.
    static func expectClean(_ fake: FakeVulkan, _ sourceLocation: SourceLocation = #_sourceLocation) async {
        await yields { fake.liveObjects.isEmpty }
        #expect(fake.liveObjects.isEmpty, sourceLocation: sourceLocation)
        #expect(fake.liveMemoryBytes == 0, sourceLocation: sourceLocation)
        let violations = fake.violations
        #expect(violations.isEmpty, sourceLocation: sourceLocation)
    }

    // MARK: States to act in

    /// Returns once the condition holds; fails the test if it does not in good time.
    func reach(
        _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
    ) async throws {
        // Turns of this task's own, not time: while other tests compute, all that this one waits for stands still too.
        for _ in 0..<1_000_000 {
            if try await condition() { return }
            try Task.checkCancellation()
            await Task.yield()
        }
        throw NotReached(what: "\(what)")
    }

    struct NotReached: Error { let what: String }

    func submissions(atLeast count: Int) async throws {
        try await reach("\(count) submissions") { fake.pendingSubmissions >= count }
    }

    /// Whether the queue's sink has anything of anybody's.
    var sinkIsBusy: Bool {
        get async throws { try await queue.core.withSink(of: device) { $0.isBusy } }
    }

    /// Bytes of staging memory in use.
    var stagingInUse: Int {
        get async throws { try await queue.core.withSink(of: device) { $0.staging.usage.used } }
    }

    /// Twice round the ring thread's turn: what was sent before has arrived, and was dealt with.
    func turn() async throws {
        for _ in 0..<2 { _ = await queue.statistics }
    }

    // MARK: The application's own

    /// A timeline semaphore of the application's, which is destroyed after the queue.
    func semaphore(_ value: UInt64 = 0) -> OpaquePointer {
        let semaphore = rig.semaphore(value)
        semaphores.add(VkSemaphoreNumber(handle: semaphore))
        return semaphore
    }

    func value(_ semaphore: OpaquePointer) -> UInt64 { rig.value(semaphore) }

    func signal(_ semaphore: OpaquePointer, _ value: UInt64) { #expect(rig.signal(semaphore, value) == VK_SUCCESS) }

    var submitCount: Int { fake.count(of: "vkQueueSubmit2") }

    /// A buffer whose bytes are all the mark's.
    func buffer(_ count: Int, mark: UInt8) async throws -> GPUBuffer {
        let buffer = try device.makeBuffer(byteCount: count)
        let host = try await queue.allocate(byteCount: count)
        host.withUnsafeMutableBytes { _ = memset($0.baseAddress!, Int32(mark), count) }
        try await queue.read(from: host[...], into: buffer[...])
        return buffer
    }

    func contents(_ buffer: GPUBuffer) -> [UInt8] {
        let all = fake.contents(of: buffer.handle)
        return Array(all[0..<buffer.count])
    }

    func layout(_ image: GPUImage, mip: Int = 0, layer: Int = 0) -> GPUImageLayout? {
        fake.layout(of: image.handle, mip: mip, layer: layer).map { GPUImageLayout(rawValue: UInt32($0.rawValue)) }
    }
}

/// A list that many threads write.
final class Log<Element: Sendable>: Sendable {
    private let elements = Shared<[Element]>([])

    func add(_ element: Element) { elements.change { $0.append(element) } }

    var all: [Element] { elements.now }
}

/// Calls `body`, which must throw a ``StorageError`` with one of the codes, and returns the error.
@discardableResult
func expectError<T>(
    _ codes: StorageError.Code..., sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> T
) async -> StorageError? {
    do {
        let value = try await body()
        Issue.record("expected \(codes), got \(value)", sourceLocation: sourceLocation)
    } catch let error as StorageError {
        #expect(codes.contains(error.code), "\(error)", sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("not a StorageError: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

extension Result where Failure == StorageError {
    var failureCode: StorageError.Code? {
        if case .failure(let error) = self { error.code } else { nil }
    }

    var success: Success? { try? get() }
}

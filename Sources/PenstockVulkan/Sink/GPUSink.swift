import CVulkan
import Penstock
import Synchronization

/// One queue's way to one device: staging, batched copies, and a timeline that says what is done.
///
/// Everything but `staging` and `features` belongs to the ring thread.
final class GPUSink: StorageSink, @unchecked Sendable {  // the engine's thread makes every call, see ``StorageSink``
    /// Work that may not go to the device yet.
    private struct Held {
        var work: SinkWork
        var copy: SinkCopy
        var details: TransferDetails
    }

    /// Bytes that the device writes where the host does not see them at once.
    private final class Readback {
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
    private struct InFlight {
        var token: UInt32
        /// Staging that goes back when the device is done; nil: the engine holds it.
        var block: SlabArena.Block?
        var readback: Readback?
        var details: TransferDetails?
        /// Its result has been given already.
        var isReported = false
    }

    private struct Submission {
        var value: UInt64
        /// Nil: the application's own.
        var command: Int?
        var bytes: Int
        var work: [InFlight]
    }

    let device: GPUDevice
    let timeline: Timeline
    private let waiter: TimelineWaiter
    /// Waits for the application's semaphores; made when one is first waited for.
    private var afterWaiter: TimelineWaiter?
    private let environment: SinkEnvironment
    private let slabs: StagingSlabs
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var commands: CommandRing
    let features: [Capabilities.Feature]

    var staging: SlabArena { slabs.arena }
    var timelinePoint: GPUSemaphorePoint { GPUSemaphorePoint(timeline.handle, lastValue) }

    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var uploads = CopyBatch()
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var downloads = CopyBatch()
    private var imageUploads = ImageBatch()
    private var imageDownloads = ImageBatch()
    private var barriersBefore = BarrierBatch()
    private var barriersAfter = BarrierBatch()
    /// What the batches are made of.
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var pending: [InFlight] = []
    private var waits: [GPUSemaphorePoint] = []
    private var signals: [GPUSemaphorePoint] = []
    /// Work whose `after` has not been reached: no submission may wait for it, since others' would wait behind it.
    private var held: [Held] = []
    private var nextHeld = 0
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var inFlight: [Submission] = []
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var results: [SinkResult] = []
    private var spareWork: [[InFlight]] = []
    private var lastValue: UInt64 = 0
    /// The largest value of each of the application's semaphores that has been submitted.
    private var highestSignals: [OpaquePointer: UInt64] = [:]
    private static let keptSignals = 64
    private var isOpen = true

    /// While the device has work enough, copies gather until they are worth a submission of their own.
    private static let enoughSubmissions = 2
    /// Copies take longer than their submission from about here on.
    private static let worthwhileBytes = 128 << 10
    private static let flushBytes = 2 << 20
    private static let flushCount = 512

    /// How soon a wait for one semaphore of the application's gives way to another: nanoseconds.
    private static let afterPatience: UInt64 = 1_000_000

    init(_ device: GPUDevice, _ environment: SinkEnvironment) throws(StorageError) {
        guard !device.isLost else { throw VulkanFailure(VK_ERROR_DEVICE_LOST, "an earlier command").error(.setUp) }
        self.device = device
        self.environment = environment
        slabs = try StagingSlabs(device, limit: environment.stagingBytes)
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
                device, name: "\(environment.name.prefix(11))-gpu", patience: .max, wake: environment.wake)
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
        slabs.destroy()
        staging.retire()
        commands.destroy(device)
        timeline.destroy()
    }

    // MARK: Accepting

    func accept(_ work: SinkWork, _ copies: UnsafeBufferPointer<SinkCopy>) {
        // Only a request of its own may have someone to wait for.
        if copies.count == 1, let details = Self.details(of: copies[0]), !details.after.isEmpty, !device.isLost,
            !isReached(details.after)
        {
            held.append(Held(work: work, copy: copies[0], details: details))
        } else {
            add(work, copies)
        }
    }

    func withdraw(_ token: UInt32) {
        guard let index = held.firstIndex(where: { $0.work.token == token }) else { return }
        let work = held.remove(at: index).work
        if work.intoDevice, let block = work.block { staging.release(block) }
        results.append(SinkResult(token: token, failure: .cancelled))
    }

    private static func details(of copy: SinkCopy) -> TransferDetails? {
        copy.target.options?._withUnsafeGuaranteedRef {
            unsafeDowncast($0.details as AnyObject, to: TransferDetails.self)
        }
    }

    private func add(_ work: SinkWork, _ copies: UnsafeBufferPointer<SinkCopy>) {
        guard !device.isLost else { return fail(work, VulkanFailure(VK_ERROR_DEVICE_LOST, "")) }
        var slab: StagingSlabs.Slab?
        if let block = work.block {
            switch slabs.slab(of: block) {
            case .failure(let failure): return fail(work, failure)
            case .success(let found): slab = found
            }
        }
        var item = InFlight(token: work.token, block: work.intoDevice ? work.block : nil)
        for index in copies.indices {
            if let details = Self.details(of: copies[index]) {
                guard begin(details, work) else {
                    return fail(work, VulkanFailure(VK_ERROR_VALIDATION_FAILED_EXT, "a semaphore's value"))
                }
                item.details = details
                if let slab { add(copies[index], work, slab, &item, details) }
                if work.isLast { finish(details, work, copies[index]) }
            } else if let slab {
                add(copies[index], work, slab, &item, nil)
            }
        }
        pending.append(item)
        if pendingBytes >= Self.flushBytes || uploads.count >= Self.flushCount { flush() }
    }

    private var pendingBytes: Int { uploads.bytes + downloads.bytes + imageUploads.bytes + imageDownloads.bytes }

    /// Before a transfer's first bytes: semaphores, and the image's layout. False: a signal would go back in value.
    private func begin(_ details: TransferDetails, _ work: SinkWork) -> Bool {
        if work.isLast, !work.isFailed, !details.signal.allSatisfy(maySignal) { return false }
        for point in details.after where !waits.contains(point) { waits.append(point) }
        if let image = details.image, !details.hasBegun, !work.isFailed {
            barriersBefore.add(
                image, from: image.oldLayout, to: image.copyLayout(intoDevice: work.intoDevice), .before)
        }
        if !work.isFailed { details.hasBegun = true }
        return true
    }

    /// After a transfer's last bytes: the image's final layout, the new owner, the application's semaphores.
    private func finish(_ details: TransferDetails, _ work: SinkWork, _ copy: SinkCopy) {
        guard details.hasBegun else { return }
        let families =
            details.newOwner.map { (device.queueFamily, $0) } ?? (VK_QUEUE_FAMILY_IGNORED, VK_QUEUE_FAMILY_IGNORED)
        if let image = details.image {
            barriersAfter.add(
                image, from: image.copyLayout(intoDevice: work.intoDevice), to: image.newLayout,
                families.0 == families.1 ? .after : .release, families: families)
        } else if families.0 != families.1 {
            barriersAfter.release(
                OpaquePointer(bitPattern: UInt(copy.target.handle))!, copy.target.offset, UInt64(details.byteCount),
                .release, families: families)
        }
        if !work.isFailed { details.signal.forEach(addSignal) }
    }

    private func add(
        _ copy: SinkCopy, _ work: SinkWork, _ slab: StagingSlabs.Slab, _ item: inout InFlight,
        _ details: TransferDetails?
    ) {
        guard copy.count > 0 else { return }
        let staged = slab.offset + UInt64(copy.memory - slab.base)
        if work.intoDevice {
            slabs.hostDidWrite(copy.memory, copy.count, slab)
        } else if slab.shadow != nil || !slab.isCoherent {
            item.readback = Readback(slab: slab, memory: copy.memory, count: copy.count)
        }
        if let image = details?.image {
            let layout = image.copyLayout(intoDevice: work.intoDevice)
            if work.intoDevice {
                imageUploads.add(
                    image, layout, buffer: slab.buffer, offset: staged, start: copy.start, count: copy.count)
            } else {
                imageDownloads.add(
                    image, layout, buffer: slab.buffer, offset: staged, start: copy.start, count: copy.count)
            }
            return
        }
        let target = OpaquePointer(bitPattern: UInt(copy.target.handle))!
        let offset = copy.target.offset + UInt64(copy.start)
        if work.intoDevice {
            uploads.add(from: slab.buffer, staged, to: target, offset, copy.count)
        } else {
            downloads.add(from: target, offset, to: slab.buffer, staged, copy.count)
        }
    }

    private func fail(_ work: SinkWork, _ failure: VulkanFailure) {
        if work.intoDevice, let block = work.block { staging.release(block) }
        let isMisuse = failure.result == VK_ERROR_VALIDATION_FAILED_EXT
        results.append(
            SinkResult(
                token: work.token, failure: isMisuse ? .invalidArgument : failure.result.failureKind,
                deviceResult: isMisuse ? 0 : failure.result.rawValue))
    }

    /// Whether the value is larger than all that the semaphore has reached, and will by what is submitted
    /// (VUID-VkSubmitInfo2-semaphore-03882).
    private func maySignal(_ point: GPUSemaphorePoint) -> Bool {
        if let last = highestSignals[point.semaphore], last >= point.value { return false }
        return Timeline.value(of: point.semaphore, device).map { $0 < point.value } ?? true
    }

    /// A semaphore may be signalled once by a submission: the larger value says what the smaller one does.
    private func addSignal(_ point: GPUSemaphorePoint) {
        if highestSignals.count >= Self.keptSignals {
            // What has been reached need not be remembered: the semaphore itself says so.
            highestSignals = highestSignals.filter { semaphore, value in
                Timeline.value(of: semaphore, device).map { $0 < value } ?? false
            }
        }
        highestSignals[point.semaphore] = max(point.value, highestSignals[point.semaphore] ?? 0)
        if let index = signals.firstIndex(where: { $0.semaphore == point.semaphore }) {
            if signals[index].value < point.value { signals[index] = point }
        } else {
            signals.append(point)
        }
    }

    private func isReached(_ points: [GPUSemaphorePoint]) -> Bool {
        points.allSatisfy { point in
            // A lost device reaches everything: the work then fails.
            Timeline.value(of: point.semaphore, device).map { $0 >= point.value } ?? true
        }
    }

    // MARK: Submitting

    func flush() {
        if !held.isEmpty { releaseHeld() }
        guard !pending.isEmpty, device.submits, commands.hasFree else { return }
        // A queue works in order: what is submitted while it has work would only wait there, in a submission of its own.
        let bytes = pendingBytes
        let isWorthIt =
            inFlight.isEmpty || (inFlight.count < Self.enoughSubmissions && bytes >= Self.worthwhileBytes)
            || bytes >= Self.flushBytes || uploads.count >= Self.flushCount
        guard isWorthIt else { return }
        do throws(VulkanFailure) {
            let (command, buffer) = try commands.begin(device)
            do throws(VulkanFailure) {
                record(into: buffer)
                try check(device.functions.endCommandBuffer(buffer), "vkEndCommandBuffer")
                try check(submit(buffer), "vkQueueSubmit2")
            } catch {
                commands.giveBack(command)
                throw error
            }
            took(command: command, bytes: bytes)
        } catch {
            device.note(error.result)
            failPending(error)
        }
    }

    private func releaseHeld() {
        let waiting = held
        held.removeAll(keepingCapacity: true)
        for item in waiting {
            withUnsafePointer(to: item.copy) { accept(item.work, UnsafeBufferPointer(start: $0, count: 1)) }
        }
    }

    /// What came before on the queue is done before the copies, and the copies before what comes after, the host included.
    private func record(into buffer: VkCommandBuffer) {
        let readsBack = !downloads.isEmpty || !imageDownloads.isEmpty
        barriersBefore.record(into: buffer, .before, device.functions)
        if readsBack {
            downloads.record(into: buffer, device.functions)
            imageDownloads.record(into: buffer, intoDevice: false, device.functions)
            if !uploads.isEmpty || !imageUploads.isEmpty {
                var between = BarrierBatch()
                between.record(into: buffer, .between, device.functions)
            }
        }
        uploads.record(into: buffer, device.functions)
        imageUploads.record(into: buffer, intoDevice: true, device.functions)
        barriersAfter.record(into: buffer, readsBack ? .afterReadback : .after, device.functions)
    }

    private func submit(_ buffer: VkCommandBuffer) -> VkResult {
        var command = VkCommandBufferSubmitInfo()
        command.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO
        command.commandBuffer = buffer
        var done = Self.submitInfo(GPUSemaphorePoint(timeline.handle, lastValue + 1))
        var info = VkSubmitInfo2()
        info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2
        info.commandBufferInfoCount = 1
        return withUnsafePointer(to: &command) { command in
            info.pCommandBufferInfos = command
            guard !waits.isEmpty || !signals.isEmpty else {
                return withUnsafePointer(to: &done) { done in
                    info.signalSemaphoreInfoCount = 1
                    info.pSignalSemaphoreInfos = done
                    return device.submit(&info)
                }
            }
            let signalInfos = [done] + signals.map(Self.submitInfo)
            return waits.map(Self.submitInfo).withUnsafeBufferPointer { waits in
                signalInfos.withUnsafeBufferPointer { signals in
                    info.waitSemaphoreInfoCount = UInt32(waits.count)
                    info.pWaitSemaphoreInfos = waits.baseAddress
                    info.signalSemaphoreInfoCount = UInt32(signals.count)
                    info.pSignalSemaphoreInfos = signals.baseAddress
                    return device.submit(&info)
                }
            }
        }
    }

    private static func submitInfo(_ point: GPUSemaphorePoint) -> VkSemaphoreSubmitInfo {
        var info = VkSemaphoreSubmitInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO
        info.semaphore = point.semaphore
        info.value = point.value
        info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT
        return info
    }

    /// What was pending is on the device.
    private func took(command: Int?, bytes: Int) {
        lastValue += 1
        for index in pending.indices {
            guard let details = pending[index].details, details.endsOnSubmit else { continue }
            details.submittedValue.store(lastValue, ordering: .releasing)
            results.append(SinkResult(token: pending[index].token))
            pending[index].isReported = true
        }
        var work = spareWork.popLast() ?? []
        swap(&work, &pending)
        inFlight.append(Submission(value: lastValue, command: command, bytes: bytes, work: work))
        waits.removeAll(keepingCapacity: true)
        signals.removeAll(keepingCapacity: true)
    }

    /// Records everything that waits into a command buffer of the application's, which is to signal the returned point.
    func recordPending(into buffer: VkCommandBuffer) -> GPUSemaphorePoint? {
        if !held.isEmpty { releaseHeld() }
        guard !pending.isEmpty else { return nil }
        let bytes = pendingBytes
        record(into: buffer)
        took(command: nil, bytes: bytes)
        return GPUSemaphorePoint(timeline.handle, lastValue)
    }

    private func failPending(_ failure: VulkanFailure) {
        for item in pending { end(item, failure) }
        pending.removeAll(keepingCapacity: true)
        uploads = CopyBatch()
        downloads = CopyBatch()
        imageUploads = ImageBatch()
        imageDownloads = ImageBatch()
        barriersBefore = BarrierBatch()
        barriersAfter = BarrierBatch()
        waits = []
        signals = []
    }

    // MARK: Completing

    var isBusy: Bool { !inFlight.isEmpty || !pending.isEmpty || !held.isEmpty || !results.isEmpty }

    var hasResults: Bool {
        if !results.isEmpty || held.contains(where: { isReached($0.details.after) }) { return true }
        guard let first = inFlight.first else { return false }
        return timeline.value.map { $0 >= first.value } ?? true
    }

    func waitBriefly(_ nanoseconds: UInt64) {
        guard let first = inFlight.first, !device.pollsCompletions, device.submits else { return }
        device.note(timeline.wait(for: first.value, nanoseconds))
    }

    func reap(_ body: (SinkResult) -> Void) {
        if !inFlight.isEmpty {
            if let value = timeline.value { endSubmissions(upTo: value) } else { endAll() }
        }
        if device.isLost { endAll() }
        var ended: [SinkResult] = []
        swap(&ended, &results)
        for result in ended { body(result) }
        ended.removeAll(keepingCapacity: true)
        if results.isEmpty { swap(&ended, &results) }
    }

    private func endSubmissions(upTo value: UInt64) {
        var count = 0
        while count < inFlight.count, inFlight[count].value <= value {
            for item in inFlight[count].work { end(item, nil) }
            if let command = inFlight[count].command { commands.giveBack(command) }
            inFlight[count].work.removeAll(keepingCapacity: true)
            spareWork.append(inFlight[count].work)
            count += 1
        }
        inFlight.removeFirst(count)
    }

    /// The device is lost: everything ends, once.
    private func endAll() {
        let lost = VulkanFailure(VK_ERROR_DEVICE_LOST, "")
        for submission in inFlight {
            for item in submission.work { end(item, lost) }
            if let command = submission.command { commands.giveBack(command) }
        }
        inFlight = []
        failPending(lost)
        for item in held { fail(item.work, lost) }
        held = []
    }

    private func end(_ item: InFlight, _ failure: VulkanFailure?) {
        if let block = item.block { staging.release(block) }
        if let readback = item.readback, failure == nil {
            slabs.deviceDidWrite(readback.memory, readback.count, readback.slab)
        }
        guard !item.isReported else { return }
        results.append(
            SinkResult(
                token: item.token, failure: failure?.result.failureKind ?? .none,
                deviceResult: failure?.result.rawValue ?? 0))
    }

    func armWakeUp() {
        guard !device.pollsCompletions else { return }
        if let first = inFlight.first { waiter.wait(for: GPUSemaphorePoint(timeline.handle, first.value)) }
        guard !held.isEmpty else { return }
        // One of them at a time: whenever the thread wakes, for whatever reason, it looks at all.
        nextHeld = (nextHeld + 1) % held.count
        let point = held[nextHeld].details.after.first { !isReached([$0]) }
        guard let point else { return environment.wake() }
        if afterWaiter == nil {
            afterWaiter = try? TimelineWaiter(
                device, name: "\(environment.name.prefix(9))-after", patience: Self.afterPatience,
                wake: environment.wake)
        }
        afterWaiter?.wait(for: point, wakesOnTimeout: held.count > 1)
    }

    // MARK: Capabilities

    private static func features(of device: GPUDevice, imports: Bool) -> [Capabilities.Feature] {
        [
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
        ]
    }
}

extension GPUDevice: SinkDevice {
    package func makeSink(_ environment: SinkEnvironment) throws(StorageError) -> any StorageSink {
        try GPUSink(self, environment)
    }
}

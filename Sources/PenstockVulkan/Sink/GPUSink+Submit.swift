import CLinux
import CVulkan
import Penstock
import Synchronization

/// One submission for all that has been gathered: barriers, few commands with many regions, barriers.
extension GPUSink {
    func flush() {
        if !held.isEmpty { releaseHeld() }
        repeat {
            if !waitingForSlot.isEmpty { releaseWaitingForSlot() }
            // There may be another slot.
        } while submitPending() && !waitingForSlot.isEmpty
    }

    /// Whether there was something to submit, and room and reason for it.
    private func submitPending() -> Bool {
        guard !pending.isEmpty, device.submits, commands.hasFree else { return false }
        // A queue works in order: what is submitted while it has work would only wait there, in a submission of its own.
        let bytes = pendingBytes
        let isWorthIt =
            inFlight.isEmpty || (inFlight.count < Self.enoughSubmissions && bytes >= Self.worthwhileBytes)
            || bytes >= Self.flushBytes || uploads.count >= Self.flushCount || !waitingForSlot.isEmpty
        guard isWorthIt else { return false }
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
            took(command: command)
        } catch {
            device.note(error.result)
            failPending(error)
        }
        return true
    }

    func releaseHeld() {
        let waiting = held
        held.removeAll(keepingCapacity: true)
        for item in waiting {
            guard device.isLost || isReached(item.details.after) else {
                held.append(item)
                continue
            }
            forget(item.details.after)
            guard !item.work.isGate else {
                results.append(SinkResult(token: item.work.token))
                continue
            }
            withUnsafePointer(to: item.copy) { add(item.work, UnsafeBufferPointer(start: $0, count: 1)) }
        }
    }

    /// What came before on the queue is done before the copies, and the copies before what comes after, the host included.
    func record(into buffer: VkCommandBuffer) {
        let readsBack = !downloads.isEmpty || !imageDownloads.isEmpty || decodes != nil
        layouts.addBarriers(before: &barriersBefore, after: &barriersAfter)
        barriersBefore.record(into: buffer, .before, device.functions)
        if !downloads.isEmpty || !imageDownloads.isEmpty {
            downloads.record(into: buffer, device.functions)
            imageDownloads.record(into: buffer, intoDevice: false, device.functions)
            if !uploads.isEmpty || !imageUploads.isEmpty {
                var between = BarrierBatch()
                between.record(into: buffer, .between, device.functions)
            }
        }
        uploads.record(into: buffer, device.functions)
        imageUploads.record(into: buffer, intoDevice: true, device.functions)
        recordDecodes(into: buffer)
        barriersAfter.record(into: buffer, readsBack ? .afterReadback : .after, device.functions)
    }

    func submit(_ buffer: VkCommandBuffer) -> VkResult {
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
            // The call that hears of the last of these may look at the others.
            let signalInfos = signals.map(Self.submitInfo) + [done]
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

    static func submitInfo(_ point: GPUSemaphorePoint) -> VkSemaphoreSubmitInfo {
        var info = VkSemaphoreSubmitInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO
        info.semaphore = point.semaphore
        info.value = point.value
        info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT
        return info
    }

    /// What was pending is on the device.
    func took(command: Int?) {
        lastValue += 1
        layouts.submitted()
        for index in pending.indices {
            guard let details = pending[index].details, details.endsOnSubmit else { continue }
            details.submittedValue.store(lastValue, ordering: .releasing)
            results.append(pending[index].failure ?? SinkResult(token: pending[index].token))
            pending[index].isReported = true
        }
        var work = spareWork.popLast() ?? []
        swap(&work, &pending)
        inFlight.append(
            Submission(
                value: lastValue, command: command, signals: signals, work: work, slot: decodes?.slot,
                submittedAt: decodes == nil || command == nil ? 0 : linux_monotonic_ns()))
        decodes = nil
        waits.removeAll(keepingCapacity: true)
        signals.removeAll(keepingCapacity: true)
    }

    /// Records everything that waits into a command buffer of the application's, which is to signal the returned point.
    func recordPending(into buffer: VkCommandBuffer) -> GPUSemaphorePoint? {
        if !held.isEmpty { releaseHeld() }
        if !waitingForSlot.isEmpty { releaseWaitingForSlot() }
        guard !pending.isEmpty else { return nil }
        record(into: buffer)
        took(command: nil)
        return GPUSemaphorePoint(timeline.handle, lastValue)
    }

    /// What was to be submitted cannot be.
    func failPending(_ failure: VulkanFailure) {
        // Images that earlier submissions have begun are still to be brought into the layout that was promised.
        let endings = device.isLost ? [] : pending.filter(endsWhatWasSubmitted)
        dropPending(but: endings.map(\.token)) { SinkResult(token: $0, failure) }
        for item in endings {
            item.details!.hasBegun = true
            if let block = item.block { staging.release(block) }
            end(item.ending!, item.details!, SinkResult(token: item.token, failure))
        }
    }

    private func endsWhatWasSubmitted(_ item: InFlight) -> Bool {
        guard item.ending != nil, item.failure == nil, let details = item.details, details.image != nil else {
            return false
        }
        return !pending.contains { $0.begins && $0.details === details }
    }

    /// Ends everything that has not gone to the device.
    func dropPending(but kept: [UInt32] = [], _ result: (UInt32) -> SinkResult) {
        for item in pending {
            // What was not submitted has not happened to the image either.
            if item.begins { item.details?.hasBegun = false }
            if !kept.contains(item.token) { end(item, result(item.token)) }
        }
        pending.removeAll(keepingCapacity: true)
        uploads = CopyBatch()
        downloads = CopyBatch()
        if let decodes { freeDecodeSlots.append(decodes.slot) }
        decodes = nil
        imageUploads = ImageBatch()
        imageDownloads = ImageBatch()
        layouts.drop()
        barriersBefore = BarrierBatch()
        barriersAfter = BarrierBatch()
        waits = []
        signals = []
    }
}

import CVulkan

final class FakeQueue: FakeDeviceObject {
    override class var kind: FakeVulkan.Kind { .queue }

    let family: UInt32
    var submitted: UInt64 = 0
    var pending: [Batch] = []
    /// What everything from here on is ordered after.
    var clock = SyncClock()

    init(_ fake: FakeVulkan, _ device: FakeDevice, family: UInt32) {
        self.family = family
        super.init(fake, device)
    }

    override var alone: [FakeObject] { fake?.configuration.synchronizesQueuesInternally == true ? [] : [self] }
}

/// One `VkSubmitInfo2`.
final class Batch {
    struct SemaphoreOperation {
        let semaphore: FakeSemaphore
        let value: UInt64
        let stages: UInt64
    }

    let queue: FakeQueue
    /// Its number in the queue, from 1.
    let number: UInt64
    /// Its number in the fake.
    let order: UInt64
    /// What the host had seen done when it submitted this.
    let observed: SyncClock
    var waits: [SemaphoreOperation] = []
    var signals: [SemaphoreOperation] = []
    var buffers: [(FakeCommandBuffer, [Command])] = []
    /// What must stay until the host knows that this is done.
    var uses: [UInt: FakeObject] = [:]

    init(_ queue: FakeQueue, order: UInt64, observed: SyncClock) {
        queue.submitted += 1
        self.queue = queue
        number = queue.submitted
        self.order = order
        self.observed = observed
    }

    var isReady: Bool { waits.allSatisfy { $0.semaphore.value >= $0.value } }
}

extension FakeVulkan {
    static let vkQueueSubmit2: PFN_vkQueueSubmit2 = { queue, count, submits, fence in
        command("vkQueueSubmit2", queue, FakeQueue.self, canLose: true) { fake, queue in
            fake.require(
                !fake.configuration.requiresLock || fake.queueLock.isMine, "queue lock", "submitted without the lock")
            fake.require(
                queue.device.hasSynchronization2, "VUID-vkQueueSubmit2-synchronization2-03866",
                "synchronization2 is not enabled")
            fake.require(fence == nil, "fence", "fences are not modelled")
            for submit in list(submits, count) { fake.submit(submit, queue) }
            fake.monitor.wakeAll()
            return VK_SUCCESS
        }
    }

    private func submit(_ info: VkSubmitInfo2, _ queue: FakeQueue) {
        order += 1
        let batch = Batch(queue, order: order, observed: observed)
        checkType(info.sType, VK_STRUCTURE_TYPE_SUBMIT_INFO_2, "VkSubmitInfo2")
        for wait in list(info.pWaitSemaphoreInfos, info.waitSemaphoreInfoCount) {
            checkType(wait.sType, VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO, "VkSemaphoreSubmitInfo")
            guard let semaphore = resolve(wait.semaphore, FakeSemaphore.self, of: queue.device) else { continue }
            require(
                !configuration.forbidsWaitBeforeSignal || wait.value <= semaphore.largestToCome, "wait before signal",
                "waits for \(wait.value) of \(semaphore.name), and nothing submitted signals more than "
                    + "\(semaphore.largestToCome)")
            batch.waits.append(.init(semaphore: semaphore, value: wait.value, stages: wait.stageMask))
            batch.uses[semaphore.handle] = semaphore
        }
        for item in list(info.pCommandBufferInfos, info.commandBufferInfoCount) {
            checkType(item.sType, VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO, "VkCommandBufferSubmitInfo")
            guard let buffer = resolve(item.commandBuffer, FakeCommandBuffer.self, of: queue.device),
                check(buffer, queue)
            else { continue }
            batch.buffers.append((buffer, buffer.commands))
            batch.uses[buffer.handle] = buffer
            batch.uses.merge(buffer.uses) { first, _ in first }
        }
        for signal in list(info.pSignalSemaphoreInfos, info.signalSemaphoreInfoCount) {
            checkType(signal.sType, VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO, "VkSemaphoreSubmitInfo")
            guard let semaphore = resolve(signal.semaphore, FakeSemaphore.self, of: queue.device) else { continue }
            require(
                signal.value > semaphore.largestToCome, "VUID-VkSubmitInfo2-semaphore-03882",
                "signals \(signal.value) of \(semaphore.name), which is or will be \(semaphore.largestToCome)")
            semaphore.pendingSignals.append(signal.value)
            batch.signals.append(.init(semaphore: semaphore, value: signal.value, stages: signal.stageMask))
            batch.uses[semaphore.handle] = semaphore
        }
        for object in batch.uses.values { object.inFlight += 1 }
        queue.pending.append(batch)
    }

    private func check(_ buffer: FakeCommandBuffer, _ queue: FakeQueue) -> Bool {
        require(
            buffer.pool.family == queue.family, "VUID-vkQueueSubmit2-commandBuffer-03878",
            "\(buffer.name) is for queue family \(buffer.pool.family), not \(queue.family)")
        require(
            buffer.inFlight == 0 || buffer.mayBePendingTwice, "VUID-vkQueueSubmit2-commandBuffer-03875",
            "\(buffer.name) is in flight already")
        guard
            require(
                buffer.state == .executable, "VUID-vkQueueSubmit2-commandBuffer-03876",
                "\(buffer.name) is \(buffer.state), not executable")
        else { return false }
        for object in buffer.uses.values {
            require(
                !object.isDestroyed, "VUID-vkQueueSubmit2-commandBuffer-03876",
                "\(buffer.name) uses \(object.name), which has been destroyed")
        }
        return true
    }
}

import CVulkan

/// A timeline semaphore.
final class FakeSemaphore: FakeDeviceObject {
    override class var kind: FakeVulkan.Kind { .semaphore }

    private(set) var value: UInt64
    /// Of submissions that have not been executed, or whose signals are held.
    var pendingSignals: [UInt64] = []
    var waiters = 0
    /// What each value, once reached, says of the queues.
    private var history: [(value: UInt64, clock: SyncClock)] = []

    init(_ fake: FakeVulkan, _ device: FakeDevice, value: UInt64) {
        self.value = value
        super.init(fake, device)
    }

    /// The largest value that it has, or will have from what has been submitted.
    var largestToCome: UInt64 { max(value, pendingSignals.max() ?? 0) }

    func reach(_ value: UInt64, _ clock: SyncClock) {
        self.value = value
        var all = history.last?.clock ?? SyncClock()
        all.merge(clock)
        history.append((value, all))
        // Old values are asked for by late waiters only, who then learn a little more than they should.
        if history.count > 4096 { history.removeFirst(2048) }
    }

    /// What is known to be done when the value is reached.
    func clock(reaching value: UInt64) -> SyncClock {
        var (low, high) = (0, history.count)
        while low < high {
            let middle = (low + high) / 2
            if history[middle].value < value { low = middle + 1 } else { high = middle }
        }
        return low < history.count ? history[low].clock : SyncClock()
    }

    /// What is known to be done by who has read the counter now.
    var currentClock: SyncClock { history.last?.clock ?? SyncClock() }
}

extension FakeVulkan {
    static let vkCreateSemaphore: PFN_vkCreateSemaphore = { device, info, _, result in
        command("vkCreateSemaphore", device, FakeDevice.self) { fake, device in
            guard let info = info?.pointee, let result else { return VK_ERROR_UNKNOWN }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, "VkSemaphoreCreateInfo")
            let type = link(
                info.pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, as: VkSemaphoreTypeCreateInfo.self)
            fake.require(
                type?.semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE, "binary semaphore",
                "binary semaphores are not modelled")
            fake.require(
                device.hasTimelineSemaphores, "VUID-VkSemaphoreTypeCreateInfo-timelineSemaphore-03252",
                "timelineSemaphore is not enabled")
            let semaphore = FakeSemaphore(fake, device, value: type?.initialValue ?? 0)
            fake.born(semaphore)
            result.pointee = semaphore.pointer
            return VK_SUCCESS
        }
    }

    static let vkDestroySemaphore: PFN_vkDestroySemaphore = { device, semaphore, _ in
        guard semaphore != nil else { return }
        call("vkDestroySemaphore", device, FakeDevice.self, alone: semaphore, otherwise: ()) { fake, device in
            guard let semaphore = fake.resolve(semaphore, FakeSemaphore.self, of: device) else { return }
            fake.require(
                semaphore.waiters == 0, "VUID-vkDestroySemaphore-semaphore-parameter",
                "a thread is in vkWaitSemaphores for \(semaphore.name)")
            fake.die(semaphore, inUse: "VUID-vkDestroySemaphore-semaphore-05149")
        }
    }

    static let vkGetSemaphoreCounterValue: PFN_vkGetSemaphoreCounterValue = { device, semaphore, result in
        command("vkGetSemaphoreCounterValue", device, FakeDevice.self) { fake, device in
            guard let semaphore = fake.resolve(semaphore, FakeSemaphore.self, of: device) else {
                return VK_ERROR_UNKNOWN
            }
            if fake.lost {
                guard fake.configuration.lostCounterIsMax else { return VK_ERROR_DEVICE_LOST }
                result?.pointee = .max
                return VK_SUCCESS
            }
            result?.pointee = semaphore.value
            fake.observe(semaphore.currentClock)
            return VK_SUCCESS
        }
    }

    static let vkWaitSemaphores: PFN_vkWaitSemaphores = { device, info, timeout in
        command("vkWaitSemaphores", device, FakeDevice.self, canLose: true) { fake, device in
            guard let info = info?.pointee else { return VK_ERROR_UNKNOWN }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, "VkSemaphoreWaitInfo")
            let values = list(info.pValues, info.semaphoreCount)
            let semaphores = list(info.pSemaphores, info.semaphoreCount).compactMap {
                fake.resolve($0, FakeSemaphore.self, of: device)
            }
            guard
                fake.require(
                    !values.isEmpty, "VUID-VkSemaphoreWaitInfo-semaphoreCount-arraylength", "no semaphores to wait for"),
                semaphores.count == values.count
            else { return VK_ERROR_UNKNOWN }
            let isAny = info.flags & VK_SEMAPHORE_WAIT_ANY_BIT.rawValue != 0
            return fake.wait(Array(zip(semaphores, values)), isAny, timeout)
        }
    }

    private func wait(_ goals: [(FakeSemaphore, UInt64)], _ isAny: Bool, _ timeout: UInt64) -> VkResult {
        let deadline = Monitor.deadline(nanoseconds: timeout)
        var isLate = timeout == 0
        for (semaphore, _) in goals { semaphore.waiters += 1 }
        defer { for (semaphore, _) in goals { semaphore.waiters -= 1 } }
        while true {
            if lost { return VK_ERROR_DEVICE_LOST }
            let reached = goals.filter { $0.0.value >= $0.1 }
            if isAny ? !reached.isEmpty : reached.count == goals.count {
                for (semaphore, value) in reached { observe(semaphore.clock(reaching: value)) }
                return VK_SUCCESS
            }
            if isLate { return VK_TIMEOUT }
            let isInTime = monitor.wait(until: deadline)
            function = "vkWaitSemaphores"
            // One last look, at the top, before giving up.
            if !isInTime { isLate = true }
        }
    }

    static let vkSignalSemaphore: PFN_vkSignalSemaphore = { device, info in
        command("vkSignalSemaphore", device, FakeDevice.self) { fake, device in
            guard let info = info?.pointee,
                let semaphore = fake.resolve(info.semaphore, FakeSemaphore.self, of: device)
            else { return VK_ERROR_UNKNOWN }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, "VkSemaphoreSignalInfo")
            guard
                fake.require(
                    info.value > semaphore.value, "VUID-VkSemaphoreSignalInfo-value-03258",
                    "signals \(info.value) of \(semaphore.name), which is \(semaphore.value)")
            else {
                // As on lavapipe.
                fake.lose()
                return VK_SUCCESS
            }
            fake.require(
                semaphore.pendingSignals.allSatisfy { info.value < $0 }, "VUID-VkSemaphoreSignalInfo-value-03259",
                "signals \(info.value) of \(semaphore.name), which a submission will signal with less")
            semaphore.reach(info.value, fake.observed)
            fake.monitor.wakeAll()
            return VK_SUCCESS
        }
    }

    /// The host has learned that so much is done; what only that used is free.
    private func observe(_ clock: SyncClock) {
        observed.merge(clock)
        unobserved.removeAll { batch in
            guard observed.covers(batch.queue.handle, batch.number) else { return false }
            for object in batch.uses.values { object.inFlight -= 1 }
            return true
        }
    }
}

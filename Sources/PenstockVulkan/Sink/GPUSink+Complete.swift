import CLinux
import CVulkan
import Penstock

/// What the device has done: results for the engine, staging memory for the next request.
extension GPUSink {
    var isBusy: Bool {
        !inFlight.isEmpty || !pending.isEmpty || !held.isEmpty || !waitingForSlot.isEmpty || !results.isEmpty
    }

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

    func endSubmissions(upTo value: UInt64) {
        guard let first = inFlight.first, first.value <= value else { return }
        let now = linux_monotonic_ns()
        var count = 0
        while count < inFlight.count, inFlight[count].value <= value {
            inFlight[count].slot?.deviceDidWrite()
            tellTime(of: inFlight[count], endedAt: now)
            lastEnd = now
            for item in inFlight[count].work { end(item, result(of: item, inFlight[count].slot)) }
            if let slot = inFlight[count].slot { freeDecodeSlots.append(slot) }
            if let command = inFlight[count].command { commands.giveBack(command) }
            inFlight[count].work.removeAll(keepingCapacity: true)
            spareWork.append(inFlight[count].work)
            count += 1
        }
        inFlight.removeFirst(count)
    }

    /// How long to wait for what a lost device has not ended, in nanoseconds.
    private static let longestLoss: UInt64 = 1_000_000_000

    /// The device is lost: everything ends, once.
    func endAll() {
        let lost = VulkanFailure(VK_ERROR_DEVICE_LOST, "")
        // What had been submitted before may still touch memory, for a finite time: a device that is really lost says so at
        // once. What an application submits itself, it has to wait for.
        if let last = inFlight.last, device.submits { _ = timeline.wait(for: last.value, Self.longestLoss) }
        for submission in inFlight {
            for item in submission.work { end(item, SinkResult(token: item.token, lost)) }
            if let command = submission.command { commands.giveBack(command) }
            if let slot = submission.slot { freeDecodeSlots.append(slot) }
        }
        inFlight = []
        failPending(lost)
        for item in held { letGo(item, SinkResult(token: item.work.token, lost)) }
        held = []
        for item in waitingForSlot { giveBack(item.work, item.details, SinkResult(token: item.work.token, lost)) }
        waitingForSlot = []
    }

    func end(_ item: InFlight, _ result: SinkResult) {
        if let block = item.block { staging.release(block) }
        if let readback = item.readback, result.failure == .none {
            slabs.deviceDidWrite(readback.memory, readback.count, readback.slab)
        }
        item.details?.pieceEnded(failed: result.failure != .none, isLast: item.isLast)
        if !item.isReported { results.append(item.failure ?? result) }
    }

    func armWakeUp() {
        // No submission's end will have these looked at.
        let isWaiting = !pending.isEmpty || !waitingForSlot.isEmpty
        if !results.isEmpty || (inFlight.isEmpty && isWaiting && device.submits) { return environment.wake() }
        guard !device.pollsCompletions else { return }
        if let first = inFlight.first { waiter.wait(for: GPUSemaphorePoint(timeline.handle, first.value)) }
        guard !held.isEmpty else { return }
        // One of them at a time: whenever the thread wakes, for whatever reason, it looks at all.
        nextHeld = (nextHeld + 1) % held.count
        let point = held[nextHeld].details.after.first { !isReached([$0]) }
        guard let point else { return environment.wake() }
        afterWaiter?.wait(for: point, wakesOnTimeout: held.count > 1)
    }
}

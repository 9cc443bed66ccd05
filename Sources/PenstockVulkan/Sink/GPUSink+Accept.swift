import CVulkan
import Penstock

/// Work that comes in: what may not go to the device yet is held, the rest is gathered for the next submission.
extension GPUSink {
    func accept(_ work: SinkWork, _ copies: UnsafeBufferPointer<SinkCopy>) {
        // Only a request of its own may have someone to wait for.
        // What ends a failed one touches nothing that its pieces have not touched.
        if copies.count == 1, !work.isFailed, let details = Self.details(of: copies[0]), !details.after.isEmpty,
            !device.isLost, !isReached(details.after)
        {
            guard !isStopping else { return giveBack(work, details, .init(token: work.token, failure: .queueClosed)) }
            guard canWaitForOthers() else {
                return giveBack(work, details, .init(token: work.token, failure: .unavailable))
            }
            held.append(Held(work: work, copy: copies[0], details: details))
        } else if work.isGate {
            results.append(SinkResult(token: work.token))
        } else if copies.count == 1, work.isFailed, work.isLast, let details = Self.details(of: copies[0]),
            !details.hasBegun
        {
            // What has failed has left nothing to end.
            details.pieceEnded(failed: true, isLast: true)
            results.append(SinkResult(token: work.token))
        } else if isStopping, !device.submits {
            giveBack(work, copies.first.flatMap(Self.details), .init(token: work.token, failure: .queueClosed))
        } else {
            add(work, copies)
        }
    }

    func withdraw(_ token: UInt32) {
        if let index = held.firstIndex(where: { $0.work.token == token }) {
            letGo(held.remove(at: index), .init(token: token, failure: .cancelled))
        } else if let index = waitingForSlot.firstIndex(where: { $0.work.token == token }) {
            let item = waitingForSlot.remove(at: index)
            giveBack(item.work, item.details, .init(token: token, failure: .cancelled))
        }
    }

    func stop() {
        isStopping = true
        for item in held { letGo(item, .init(token: item.work.token, failure: .queueClosed)) }
        held = []
        // Nobody would record them any more.
        guard !device.submits else { return }
        for item in waitingForSlot {
            giveBack(item.work, item.details, .init(token: item.work.token, failure: .queueClosed))
        }
        waitingForSlot = []
        dropPending { SinkResult(token: $0, failure: .queueClosed) }
    }

    /// Work of which nothing has happened.
    func giveBack(_ work: SinkWork, _ details: TransferDetails?, _ result: SinkResult) {
        if work.intoDevice, let block = work.block { staging.release(block) }
        details?.pieceEnded(failed: true, isLast: work.isLast)
        results.append(result)
    }

    /// The same of work that was held.
    func letGo(_ item: Held, _ result: SinkResult) {
        forget(item.details.after)
        giveBack(item.work, item.details, result)
    }

    /// The application may destroy its semaphores as soon as its calls return: nobody may sleep on them any more.
    func forget(_ points: [GPUSemaphorePoint]) {
        for point in points { afterWaiter?.forget(point.semaphore) }
    }

    /// Whether there is a thread that sleeps for the application's semaphores; made when it is first needed.
    func canWaitForOthers() -> Bool {
        if afterWaiter == nil {
            afterWaiter = try? TimelineWaiter(
                device, name: "\(environment.name.prefix(9))-after", patience: Self.afterPatience,
                wake: environment.wake)
        }
        return afterWaiter != nil
    }

    static func details(of copy: SinkCopy) -> TransferDetails? {
        copy.target.options?._withUnsafeGuaranteedRef {
            unsafeDowncast($0.details as AnyObject, to: TransferDetails.self)
        }
    }

    func add(_ work: SinkWork, _ copies: UnsafeBufferPointer<SinkCopy>) {
        guard !device.isLost else {
            let lost = VulkanFailure(VK_ERROR_DEVICE_LOST, "")
            return giveBack(work, copies.first.flatMap(Self.details), SinkResult(token: work.token, lost))
        }
        if copies.count == 1, let decoding = Self.decoding(of: copies[0]) {
            switch findRoom(for: work, copies[0], decoding) {
            case .there: break
            case .later:
                let details = Self.details(of: copies[0])!
                return waitingForSlot.append(Held(work: work, copy: copies[0], details: details))
            case .never(let failure): return fail(work, copies, SinkResult(token: work.token, failure: failure))
            }
        }
        var slab: StagingSlabs.Slab?
        if let block = work.block {
            switch slabs.slab(of: block) {
            case .failure(let failure):
                return fail(work, copies, SinkResult(token: work.token, failure))
            case .success(let found): slab = found
            }
        }
        var item = InFlight(token: work.token, block: work.intoDevice ? work.block : nil, isLast: work.isLast)
        for index in copies.indices {
            if let details = Self.details(of: copies[index]) {
                item.begins = item.begins || (!details.hasBegun && !work.isFailed)
                guard begin(details, work) else {
                    return fail(work, copies, SinkResult(token: work.token, failure: .invalidArgument))
                }
                item.details = details
                if let slab { add(copies[index], work, slab, &item, details) }
                if work.isLast, details.hasBegun {
                    finish(details, work, target: copies[index].target)
                    item.ending = work
                }
            } else if let slab {
                add(copies[index], work, slab, &item, nil)
            }
        }
        pending.append(item)
        if pendingBytes >= Self.flushBytes || uploads.count >= Self.flushCount { flush() }
    }

    /// Work that cannot be done; but if it is its request's last, what earlier work has begun is still to be ended.
    func fail(_ work: SinkWork, _ copies: UnsafeBufferPointer<SinkCopy>, _ result: SinkResult) {
        let details = copies.first.flatMap(Self.details)
        guard work.isLast, copies.count == 1, let details, details.image != nil, details.hasBegun else {
            return giveBack(work, details, result)
        }
        if work.intoDevice, let block = work.block { staging.release(block) }
        end(work, details, result)
    }

    /// Ends an image's transfer that has begun and has failed: only its layout is still to come.
    func end(_ work: SinkWork, _ details: TransferDetails, _ result: SinkResult) {
        var failed = work
        failed.block = nil
        failed.isFailed = true
        finish(details, failed, target: nil)
        pending.append(InFlight(token: work.token, details: details, isLast: true, ending: failed, failure: result))
    }

    var pendingBytes: Int {
        uploads.bytes + downloads.bytes + imageUploads.bytes + imageDownloads.bytes + (decodes?.decodedBytes ?? 0)
    }

    /// Before a transfer's first bytes: semaphores, and the image's layout. False: a signal would go back in value.
    func begin(_ details: TransferDetails, _ work: SinkWork) -> Bool {
        if work.isLast, !work.isFailed, !details.hasFailed, !details.signal.allSatisfy(maySignal) { return false }
        // What ends a failed one may come before its semaphores do, and everything after it must not wait for them.
        if !work.isFailed { for point in details.after where !waits.contains(point) { waits.append(point) } }
        if let image = details.image, !details.hasBegun, !work.isFailed {
            layouts.begin(image, intoDevice: work.intoDevice)
        }
        if !work.isFailed { details.hasBegun = true }
        return true
    }

    /// After a transfer's last bytes: the image's final layout, the new owner, the application's semaphores.
    ///
    /// - Parameter target: The buffer; of no meaning for images.
    func finish(_ details: TransferDetails, _ work: SinkWork, target: SinkTarget?) {
        // The same request may be performed again.
        details.hasBegun = false
        let families =
            details.newOwner.map { (device.queueFamily, $0) } ?? (VK_QUEUE_FAMILY_IGNORED, VK_QUEUE_FAMILY_IGNORED)
        if let image = details.image {
            layouts.finish(image, intoDevice: work.intoDevice, families: families)
        } else if families.0 != families.1, let target {
            barriersAfter.release(
                OpaquePointer(bitPattern: UInt(target.handle))!, target.offset, UInt64(details.byteCount),
                .release, families: families)
        }
        if !work.isFailed, !details.hasFailed { details.signal.forEach(addSignal) }
    }

    func add(
        _ copy: SinkCopy, _ work: SinkWork, _ slab: StagingSlabs.Slab, _ item: inout InFlight,
        _ details: TransferDetails?
    ) {
        guard copy.count > 0 else { return }
        let staged = slab.offset + UInt64(copy.memory - slab.base)
        if work.intoDevice {
            slabs.hostDidWrite(copy.memory, copy.count, slab)
        } else if slab.shadow != nil || !slab.isCoherent {
            item.readback = Readback(slab: slab, memory: copy.memory, count: copy.count)
            // The device leaves the zeros between an image's rows as they are, where it sees them.
            if details?.image != nil { slabs.hostDidWrite(copy.memory, copy.count, slab) }
        }
        if let decoding = Self.decoding(of: copy) { return decode(copy, decoding, slab, &item) }
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

    /// Whether the value is larger than all that the semaphore has reached, and will by what is submitted
    /// (VUID-VkSubmitInfo2-semaphore-03882).
    func maySignal(_ point: GPUSemaphorePoint) -> Bool {
        func hasAsMuch(_ signals: [GPUSemaphorePoint]) -> Bool {
            signals.contains { $0.semaphore == point.semaphore && $0.value >= point.value }
        }
        if hasAsMuch(signals) { return false }
        // What the device has done may have been of another semaphore of that name, which is gone.
        if inFlight.contains(where: { hasAsMuch($0.signals) && (timeline.value ?? .max) < $0.value }) { return false }
        return Timeline.value(of: point.semaphore, device).map { $0 < point.value } ?? true
    }

    /// A semaphore may be signalled once by a submission: the larger value says what the smaller one does.
    func addSignal(_ point: GPUSemaphorePoint) {
        if let index = signals.firstIndex(where: { $0.semaphore == point.semaphore }) {
            if signals[index].value < point.value { signals[index] = point }
        } else {
            signals.append(point)
        }
    }

    func isReached(_ points: [GPUSemaphorePoint]) -> Bool {
        points.allSatisfy { point in
            // A lost device reaches everything: the work then fails.
            Timeline.value(of: point.semaphore, device).map { $0 >= point.value } ?? true
        }
    }
}

import CVulkan
import Glibc

/// A signal that a test keeps back.
struct HeldSignal {
    let operation: Batch.SemaphoreOperation
    let clock: SyncClock
}

extension FakeVulkan {
    /// How many submissions have not been executed.
    package var pendingSubmissions: Int { locked { $0.queues.reduce(0) { $0 + $1.pending.count } } }

    /// Executes the oldest submission whose waits allow it, of one queue or of all.
    ///
    /// - Parameter holdingSignals: whether the copies happen, but the semaphores are signalled only when
    ///   `releaseSignals()` is called.
    /// - Returns: whether there was one.
    @discardableResult
    package func step(_ queue: OpaquePointer? = nil, holdingSignals: Bool = false) -> Bool {
        locked { fake in
            let only = queue.map { UInt(bitPattern: $0) }
            return fake.executeNext(only, holdingSignals)
        }
    }

    /// Executes until nothing can be. Returns how many submissions that were.
    @discardableResult
    package func runAll() -> Int {
        locked { fake in
            var count = 0
            while fake.executeNext(nil, false) { count += 1 }
            return count
        }
    }

    /// Signals what `step(_:holdingSignals:)` held back.
    package func releaseSignals() {
        locked { fake in
            let held = fake.heldSignals
            fake.heldSignals = []
            for signal in held { fake.perform(signal.operation, signal.clock) }
            fake.monitor.wakeAll()
        }
    }

    /// From now on, executes by itself or only when told.
    package func setExecution(_ execution: Execution) {
        locked { fake in
            fake.isAutomatic = execution == .automatic
            fake.monitor.wakeAll()
        }
        startExecutor()
    }

    func executeNext(_ only: UInt?, _ holdingSignals: Bool) -> Bool {
        let ready = queues.filter { only == nil || $0.handle == only }
            .compactMap(\.pending.first).filter(\.isReady)
        guard !lost, let batch = ready.min(by: { $0.order < $1.order }) else { return false }
        function = "execution of submission \(batch.order)"
        execute(batch, holdingSignals)
        monitor.wakeAll()
        return true
    }

    private func execute(_ batch: Batch, _ holdingSignals: Bool) {
        let queue = batch.queue
        // Submissions observe more and more, so the oldest that is still pending has seen the least.
        let oldest = queues.compactMap(\.pending.first).min { $0.order < $1.order } ?? batch
        forgetAccesses(before: oldest.observed)
        queue.clock.merge(batch.observed)
        for wait in batch.waits where Stages.includesCopies(wait.stages) {
            queue.clock.merge(wait.semaphore.clock(reaching: wait.value))
        }
        for (buffer, commands) in batch.buffers {
            for command in commands { perform(command, batch) }
            if buffer.isOneTime, buffer.state == .executable { buffer.state = .invalid }
        }
        checkHostBarriers(batch)
        queue.pending.removeFirst()
        unobserved.append(batch)

        for signal in batch.signals {
            var clock = SyncClock()
            if Stages.includesCopies(signal.stages) {
                clock = queue.clock
                clock.reach(queue.handle, batch.number)
            }
            if holdingSignals || !heldSignals.isEmpty {
                heldSignals.append(HeldSignal(operation: signal, clock: clock))
            } else {
                perform(signal, clock)
            }
        }
    }

    private func perform(_ signal: Batch.SemaphoreOperation, _ clock: SyncClock) {
        let semaphore = signal.semaphore
        if let index = semaphore.pendingSignals.firstIndex(of: signal.value) {
            semaphore.pendingSignals.remove(at: index)
        }
        guard require(!semaphore.isDestroyed, "use after destroy", "signals \(semaphore.name)") else { return }
        require(
            signal.value > semaphore.value, "VUID-VkSubmitInfo2-semaphore-03882",
            "\(semaphore.name) goes from \(semaphore.value) to \(signal.value)")
        semaphore.reach(max(signal.value, semaphore.value), clock)
    }

    private func perform(_ command: Command, _ batch: Batch) {
        switch command {
        case .barrier(let barrier): perform(barrier, batch)
        case .copyBuffer(let source, let destination, let regions):
            let read = regions.map(\.source).merged()
            let written = regions.map(\.destination).merged()
            guard touch(source, read, isWrite: false, batch), touch(destination, written, isWrite: true, batch) else {
                return
            }
            guard let from = source.memory, let to = destination.memory else { return }
            for region in regions {
                memmove(
                    to.deviceBytes + Int(destination.offset + region.destination.lowerBound),
                    from.deviceBytes + Int(source.offset + region.source.lowerBound), region.source.count)
            }
        case .bufferToImage(let buffer, let image, let layout, let regions):
            copy(regions, buffer, image, layout, toImage: true, batch)
        case .imageToBuffer(let image, let layout, let buffer, let regions):
            copy(regions, buffer, image, layout, toImage: false, batch)
        case .fill(let buffer, let range, let value): perform(fill: buffer, range, value, batch)
        case .dispatch(let ranges, let constants): perform(dispatch: ranges, constants, batch)
        case .decompress(let regions, let work): perform(decompress: regions, as: work, batch)
        }
    }

    /// Checks that ranges of a buffer can be used now. False: its memory is gone.
    func touch(
        _ buffer: FakeBuffer, _ ranges: [Range<UInt64>], isWrite: Bool, _ batch: Batch, as work: Work = .copy
    ) -> Bool {
        guard !buffer.isDestroyed, let memory = buffer.memory, !memory.isDestroyed else {
            report("use after destroy", "\(work.name) of \(buffer.name), or its memory, after it was destroyed")
            return false
        }
        for range in ranges {
            if let reason = buffer.ownership.use(range, by: batch.queue.family, discarding: isWrite) {
                report("queue family ownership", "\(buffer.name): \(reason)")
            }
        }
        if let footprint = buffer.footprint(ranges), !ranges.isEmpty {
            access(
                footprint, isWrite: isWrite, "\(work.name) \(isWrite ? "to" : "from") \(buffer.name)", batch, as: work)
        }
        return true
    }

    private func copy(
        _ regions: [VkBufferImageCopy2], _ buffer: FakeBuffer, _ image: FakeImage, _ layout: VkImageLayout,
        toImage: Bool, _ batch: Batch
    ) {
        let ranges = regions.map { image.bytesInBuffer($0) }.merged()
        guard touch(buffer, ranges, isWrite: !toImage, batch), let memory = buffer.memory else { return }
        guard !image.isDestroyed, image.memory?.isDestroyed == false else {
            report("use after destroy", "a copy of \(image.name), or its memory, after it was destroyed")
            return
        }
        for region in regions {
            for footprint in image.boxes(region) {
                let subresource = Int(footprint.ranges[0].lowerBound)
                require(
                    image.layouts[subresource] == layout,
                    "UNASSIGNED-CoreValidation-DrawState-InvalidImageLayout",
                    "subresource \(subresource) of \(image.name) is in layout \(image.layouts[subresource].rawValue), "
                        + "and the copy says \(layout.rawValue)")
                if let reason = image.ownership.use(footprint.ranges[0], by: batch.queue.family, discarding: false) {
                    report("queue family ownership", "\(image.name): \(reason)")
                }
                access(footprint, isWrite: toImage, "a copy \(toImage ? "to" : "from") \(image.name)", batch)
            }
            move(region, memory.deviceBytes + Int(buffer.offset), image, toImage: toImage)
        }
    }

    /// Moves the blocks of one region.
    private func move(
        _ region: VkBufferImageCopy2, _ buffer: UnsafeMutableRawPointer, _ image: FakeImage, toImage: Bool
    ) {
        let format = image.format
        let pitch = image.pitch(region)
        let mip = region.imageSubresource.mipLevel
        let whole = image.extent(mip: mip)
        let imageRow = format.columns(whole.width) * format.bytes
        let imageSlice = imageRow * format.rows(whole.height)
        let rowBytes = format.columns(region.imageExtent.width) * format.bytes
        let column = Int(region.imageOffset.x) / Int(format.width)
        let firstRow = Int(region.imageOffset.y) / Int(format.height)
        let depth = Int(region.imageExtent.depth)
        for layer in 0..<Int(region.imageSubresource.layerCount) {
            let index = image.subresource(mip: mip, layer: region.imageSubresource.baseArrayLayer + UInt32(layer))
            for slice in 0..<depth {
                for row in 0..<format.rows(region.imageExtent.height) {
                    let blocks = (layer * depth + slice) * pitch.slice + row * pitch.row
                    let inBuffer = buffer + Int(region.bufferOffset) + blocks * format.bytes
                    let inImage =
                        image.bytes + image.starts[index] + (Int(region.imageOffset.z) + slice) * imageSlice
                        + (firstRow + row) * imageRow + column * format.bytes
                    memcpy(toImage ? inImage : inBuffer, toImage ? inBuffer : inImage, rowBytes)
                }
            }
        }
    }

    private func perform(_ barrier: RecordedBarrier, _ batch: Batch) {
        for scope in barrier.memory { apply(scope, to: nil, batch) }
        let family = batch.queue.family
        for item in barrier.buffers {
            if let transfer = item.transfer {
                let reason =
                    transfer.from == family
                    ? item.buffer.ownership.release(item.range, from: family, to: transfer.to)
                    : item.buffer.ownership.acquire(item.range, from: transfer.from, to: family)
                if let reason { report("queue family ownership", "\(item.buffer.name): \(reason)") }
            }
            apply(item.scope, to: item.buffer.footprint([item.range]), batch)
        }
        for item in barrier.images {
            for subresource in item.subresources { perform(item, subresource, batch) }
        }
    }

    private func perform(_ item: RecordedBarrier.OnImage, _ subresource: Int, _ batch: Batch) {
        let image = item.image
        let family = batch.queue.family
        let footprint = Footprint(resource: image.handle, subresource: subresource)
        apply(item.scope, to: footprint, batch)
        let isDiscarding = item.oldLayout == VK_IMAGE_LAYOUT_UNDEFINED
        var reason: String?
        if let transfer = item.transfer {
            let isRelease = transfer.from == family
            reason =
                isRelease
                ? image.ownership.release(footprint.ranges[0], from: family, to: transfer.to)
                : image.ownership.acquire(footprint.ranges[0], from: transfer.from, to: family)
        } else {
            reason = image.ownership.use(footprint.ranges[0], by: family, discarding: isDiscarding)
        }
        if let reason { report("queue family ownership", "\(image.name): \(reason)") }
        require(
            isDiscarding || image.layouts[subresource] == item.oldLayout, "VUID-VkImageMemoryBarrier2-oldLayout-01197",
            "subresource \(subresource) of \(image.name) is in layout \(image.layouts[subresource].rawValue), and the "
                + "barrier says \(item.oldLayout.rawValue)")
        // Between a release and its acquire the transition happens once; here, with the acquire.
        if let transfer = item.transfer, transfer.from == family { return }
        guard item.oldLayout != item.newLayout || item.transfer != nil else { return }
        transition(footprint, item.scope, batch)
        image.layouts[subresource] = item.newLayout
        if isDiscarding {
            memset(
                image.bytes + image.starts[subresource], 0xDD, image.starts[subresource + 1] - image.starts[subresource]
            )
        }
    }
}

import CVulkan

/// What part of which memory, or of which image, an access touches.
struct Footprint {
    struct Box {
        let x: Range<Int32>
        let y: Range<Int32>
        let z: Range<Int32>

        func overlaps(_ other: Box) -> Bool { x.overlaps(other.x) && y.overlaps(other.y) && z.overlaps(other.z) }

        func contains(_ other: Box) -> Bool {
            x.clamped(to: other.x) == other.x && y.clamped(to: other.y) == other.y && z.clamped(to: other.z) == other.z
        }
    }

    /// The handle of the memory or the image.
    let resource: UInt
    /// Bytes of memory, or a subresource of an image: in order, and none next to another. All regions of a command are
    /// one access, so that thousands of them are compared in one pass.
    let ranges: [Range<UInt64>]
    /// Nil: all of the ranges.
    let box: Box?

    /// - Parameter ranges: as `merged()` returns them.
    init(resource: UInt, ranges: [Range<UInt64>]) {
        self.resource = resource
        self.ranges = ranges
        box = nil
    }

    init(resource: UInt, subresource: Int, box: Box? = nil) {
        self.resource = resource
        ranges = [UInt64(subresource)..<UInt64(subresource) + 1]
        self.box = box
    }

    func overlaps(_ other: Footprint) -> Bool { overlap(other) != nil }

    /// The first part that both touch.
    func overlap(_ other: Footprint) -> Range<UInt64>? {
        if let box, let otherBox = other.box, !box.overlaps(otherBox) { return nil }
        var (mine, theirs) = (0, 0)
        while mine < ranges.count, theirs < other.ranges.count {
            let (left, right) = (ranges[mine], other.ranges[theirs])
            if left.overlaps(right) { return left.clamped(to: right) }
            if left.upperBound <= right.lowerBound { mine += 1 } else { theirs += 1 }
        }
        return nil
    }

    func contains(_ other: Footprint) -> Bool {
        if let box, !(other.box.map(box.contains) ?? false) { return false }
        var mine = 0
        for range in other.ranges {
            while mine < ranges.count, ranges[mine].upperBound < range.upperBound { mine += 1 }
            guard mine < ranges.count, ranges[mine].lowerBound <= range.lowerBound else { return false }
        }
        return true
    }
}

/// How far each queue is known to have come.
struct SyncClock {
    private var reached: [UInt: UInt64] = [:]

    mutating func merge(_ other: SyncClock) { reached.merge(other.reached, uniquingKeysWith: max) }
    mutating func reach(_ queue: UInt, _ number: UInt64) { reached[queue] = max(reached[queue] ?? 0, number) }
    func covers(_ queue: UInt, _ number: UInt64) -> Bool { reached[queue] ?? 0 >= number }
}

/// An access that later ones may have to be ordered after.
struct Access {
    let queue: UInt
    /// The number of its submission in the queue.
    let number: UInt64
    let isWrite: Bool
    let footprint: Footprint
    let command: String
    /// The stages that a barrier must name to come after it: its own, and those of the barriers that did.
    var stages: UInt64
    /// The stages of work that comes after it by a barrier.
    var isOrdered: UInt64 = 0
    /// A write that a barrier has made available needs no access mask in the next.
    var isAvailable = false
    /// What may read or write it: the stages that come after it, and their accesses that see it.
    var visible: [Visible] = []
    var isHostReadable = false
    let work: Work

    struct Visible: Equatable {
        var stages: UInt64
        var access: UInt64
    }

    mutating func apply(_ scope: BarrierScope) {
        guard Stages.source(scope.sourceStages) & stages != 0 else { return }
        if isWrite, work.isWritten(scope.sourceAccess) { isAvailable = true }
        let after = Stages.destination(scope.destinationStages)
        stages |= after
        isOrdered |= after
        guard isAvailable else { return }
        let seen = Visible(stages: after, access: scope.destinationAccess)
        if !visible.contains(seen) { visible.append(seen) }
        if after & Stages.host != 0, Stages.hostReads(scope.destinationAccess) { isHostReadable = true }
    }

    /// Whether work of the kind may follow: after a read it has only to come later, and what was written it has to see.
    func mayBeFollowed(by next: Work, isWrite: Bool) -> Bool {
        guard self.isWrite else { return isOrdered & next.stage != 0 }
        return visible.contains {
            $0.stages & next.stage != 0 && (isWrite ? next.isWritten($0.access) : next.isRead($0.access))
        }
    }
}

/// A model of what must be ordered: copies and layout transitions against each other, within a queue by barriers, between
/// queues by semaphores, and between submissions also by what the host has seen done.
extension FakeVulkan {
    /// Checks an access against those before it, and remembers it.
    func access(
        _ footprint: Footprint, isWrite: Bool, _ command: String, _ batch: Batch, as work: Work = .copy
    ) {
        for old in accesses[footprint.resource] ?? []
        where (old.isWrite || isWrite) && old.footprint.overlaps(footprint) {
            if batch.queue.clock.covers(old.queue, old.number) { continue }
            let isOrdered = old.queue == batch.queue.handle && old.mayBeFollowed(by: work, isWrite: isWrite)
            if !isOrdered { reportHazard(old, isWrite, footprint, command) }
        }
        remember(
            Access(
                queue: batch.queue.handle, number: batch.number, isWrite: isWrite, footprint: footprint,
                command: command, stages: work.stage, work: work))
    }

    private func reportHazard(_ old: Access, _ isWrite: Bool, _ footprint: Footprint, _ command: String) {
        let kind = (isWrite ? "WRITE" : "READ") + "-AFTER-" + (old.isWrite ? "WRITE" : "READ")
        let place = footprint.overlap(old.footprint)!
        let resource = HandleRegistry.shared.find(footprint.resource)?.name ?? ""
        report(
            "SYNC-HAZARD-\(kind)",
            "\(command) at \(place) of \(resource) is not ordered after \(old.command)")
    }

    private func remember(_ access: Access) {
        var all = accesses[access.footprint.resource] ?? []
        // What the new access hides cannot be run into any more without running into the new one.
        all.removeAll {
            (access.isWrite || (!$0.isWrite && $0.queue == access.queue)) && access.footprint.contains($0.footprint)
        }
        all.append(access)
        accesses[access.footprint.resource] = all
    }

    /// Forgets what every submission to come is ordered after.
    func forgetAccesses(before clock: SyncClock) {
        for (resource, old) in accesses where old.contains(where: { clock.covers($0.queue, $0.number) }) {
            let rest = old.filter { !clock.covers($0.queue, $0.number) }
            accesses[resource] = rest.isEmpty ? nil : rest
        }
    }

    func apply(_ scope: BarrierScope, to footprint: Footprint?, _ batch: Batch) {
        let resources = footprint.map { [$0.resource] } ?? Array(accesses.keys)
        for resource in resources {
            guard var all = accesses[resource] else { continue }
            for index in all.indices
            where all[index].queue == batch.queue.handle
                && (footprint.map { $0.overlaps(all[index].footprint) } ?? true)
            {
                all[index].apply(scope)
            }
            accesses[resource] = all
        }
    }

    /// A layout transition writes the subresource, between what its barrier orders.
    func transition(_ footprint: Footprint, _ scope: BarrierScope, _ batch: Batch) {
        for old in accesses[footprint.resource] ?? [] where old.footprint.overlaps(footprint) {
            if batch.queue.clock.covers(old.queue, old.number) { continue }
            let isOrdered =
                old.queue == batch.queue.handle && Stages.source(scope.sourceStages) & old.stages != 0
                && (!old.isWrite || old.isAvailable)
            if !isOrdered { reportHazard(old, true, footprint, "a layout transition") }
        }
        let after = Stages.destination(scope.destinationStages)
        var access = Access(
            queue: batch.queue.handle, number: batch.number, isWrite: true, footprint: footprint,
            command: "a layout transition", stages: after, work: .copy)
        access.isAvailable = true
        access.isOrdered = after
        access.visible = [Access.Visible(stages: after, access: scope.destinationAccess)]
        remember(access)
    }

    /// What a submission has written for the host must be followed by a barrier to the host.
    func checkHostBarriers(_ batch: Batch) {
        guard configuration.requiresHostBarrier else { return }
        for (resource, all) in accesses {
            for access in all
            where access.isWrite && !access.isHostReadable && access.queue == batch.queue.handle
                && access.number == batch.number
            {
                guard let memory = HandleRegistry.shared.find(resource) as? FakeMemory, memory.type.isStaging else {
                    break
                }
                report(
                    "SYNC-HAZARD-host",
                    "\(access.command) wrote \(access.footprint.ranges[0]) of \(memory.name), which is for the host, and no "
                        + "barrier to the host followed in the submission")
            }
        }
    }

    /// The host reads memory that is not coherent: what was written there must have been made visible to it.
    func checkHostRead(_ memory: FakeMemory, _ range: Range<UInt64>) {
        let footprint = Footprint(resource: memory.handle, ranges: [range])
        for access in accesses[memory.handle] ?? []
        where access.isWrite && !access.isHostReadable && access.footprint.overlaps(footprint) {
            report(
                "SYNC-HAZARD-host",
                "the host reads \(range) of \(memory.name), which \(access.command) wrote without a "
                    + "barrier to the host")
        }
    }
}

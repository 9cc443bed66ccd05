import CVulkan

/// The changes of layout around the copies of a submission that is being gathered.
///
/// Transfers that leave an image in its layout may share levels and layers of it while they are in flight: the first that
/// begins brings them into the layout for copies, and the last that finishes brings them back.
struct LayoutChanges {
    private struct Change {
        var transfer: ImageTransfer
        var intoDevice: Bool
        var families = (VK_QUEUE_FAMILY_IGNORED, VK_QUEUE_FAMILY_IGNORED)

        var layout: VkImageLayout { transfer.copyLayout(intoDevice: intoDevice) }
    }

    /// Begun by what has been submitted, and not finished by it.
    private var open: [Change] = []
    private var begun: [Change] = []
    private var finished: [Change] = []

    /// The transfer's first bytes are among those that have been gathered.
    mutating func begin(_ transfer: ImageTransfer, intoDevice: Bool) {
        begun.append(Change(transfer: transfer, intoDevice: intoDevice))
    }

    /// Nothing comes of the transfer any more.
    mutating func finish(_ transfer: ImageTransfer, intoDevice: Bool, families: (UInt32, UInt32)) {
        finished.append(Change(transfer: transfer, intoDevice: intoDevice, families: families))
    }

    func addBarriers(before: inout BarrierBatch, after: inout BarrierBatch) {
        guard !begun.isEmpty || !finished.isEmpty else { return }
        var copied = Levels(open)
        for change in begun {
            before.add(
                change.transfer.image, copied.insert(change), from: change.transfer.oldLayout, to: change.layout,
                .before)
        }
        var left = Levels(stillOpen)
        for change in finished {
            after.add(
                change.transfer.image, left.insert(change), from: change.layout, to: change.transfer.newLayout,
                change.families.0 == change.families.1 ? .after : .release, families: change.families)
        }
    }

    /// What was gathered is on the device.
    mutating func submitted() {
        guard !begun.isEmpty || !finished.isEmpty else { return }
        open = stillOpen
        drop()
    }

    /// What was gathered has come to nothing.
    mutating func drop() {
        begun.removeAll(keepingCapacity: true)
        finished.removeAll(keepingCapacity: true)
    }

    private var stillOpen: [Change] {
        var open = open + begun
        for change in finished {
            if let index = open.firstIndex(where: { $0.transfer === change.transfer }) { open.remove(at: index) }
        }
        return open
    }

    /// Levels and layers that stay in their layout but for copies.
    private struct Levels {
        private struct Level: Hashable {
            var image: VkImage
            var mip: UInt32
            var layout: UInt32
        }

        private var layers: [Level: [Range<UInt32>]] = [:]

        init(_ changes: [Change]) {
            for change in changes { _ = insert(change) }
        }

        /// Adds what the transfer touches; returns what of it was not there. Of transfers that change the layout for good,
        /// which share with nobody, that is everything.
        mutating func insert(_ change: Change) -> [VkImageSubresourceRange] {
            guard change.transfer.oldLayout == change.transfer.newLayout else { return change.transfer.ranges }
            var new: [VkImageSubresourceRange] = []
            for range in change.transfer.ranges {
                let level = Level(
                    image: change.transfer.image, mip: range.baseMipLevel, layout: change.layout.rawValue)
                let wanted = range.baseArrayLayer..<range.baseArrayLayer + range.layerCount
                let there = layers[level, default: []]
                for missing in there.gaps(in: wanted) {
                    var part = range
                    part.baseArrayLayer = missing.lowerBound
                    part.layerCount = UInt32(missing.count)
                    new.append(part)
                }
                layers[level] = (there + [wanted]).joinedSpans()
            }
            return new
        }
    }
}

extension [Range<UInt32>] {
    /// What of a range is in none of these, which are in order and apart from each other.
    fileprivate func gaps(in range: Range<UInt32>) -> [Range<UInt32>] {
        var gaps: [Range<UInt32>] = []
        var start = range.lowerBound
        for taken in self where taken.overlaps(range) {
            if start < taken.lowerBound { gaps.append(start..<taken.lowerBound) }
            start = taken.upperBound
        }
        if start < range.upperBound { gaps.append(start..<range.upperBound) }
        return gaps
    }
}

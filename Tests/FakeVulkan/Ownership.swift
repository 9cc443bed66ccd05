import CVulkan

/// Which queue family owns which part of an EXCLUSIVE resource.
struct Ownership {
    struct Part {
        var range: Range<UInt64>
        var owner: UInt32
        /// Released and not yet acquired.
        var releasedTo: UInt32?
    }

    let isConcurrent: Bool
    private var parts: [Part] = []

    /// With a single family there is nobody to own anything else, and thousands of parts would only cost time.
    private let hasFamilies: Bool

    init(_ mode: VkSharingMode, _ families: Int) {
        isConcurrent = mode == VK_SHARING_MODE_CONCURRENT
        hasFamilies = families > 1
    }

    /// Why the family must not use the range; nil if it may, and then it owns it.
    mutating func use(_ range: Range<UInt64>, by family: UInt32, discarding: Bool) -> String? {
        guard !isConcurrent, hasFamilies else { return nil }
        var reason: String?
        if !discarding {
            for part in parts where part.range.overlaps(range) {
                if let receiver = part.releasedTo {
                    reason = "\(part.range) was released to queue family \(receiver) and not acquired"
                } else if part.owner != family {
                    reason = "\(part.range) is owned by queue family \(part.owner), and used by \(family)"
                }
            }
        }
        give(range, to: family, releasedTo: nil)
        return reason
    }

    mutating func release(_ range: Range<UInt64>, from family: UInt32, to receiver: UInt32) -> String? {
        guard !isConcurrent, hasFamilies else { return nil }
        let reason = use(range, by: family, discarding: false)
        give(range, to: family, releasedTo: receiver)
        return reason
    }

    mutating func acquire(_ range: Range<UInt64>, from giver: UInt32, to family: UInt32) -> String? {
        guard !isConcurrent, hasFamilies else { return nil }
        defer { give(range, to: family, releasedTo: nil) }
        let fitting = parts.filter { $0.range.overlaps(range) && $0.owner == giver && $0.releasedTo == family }
        let covered = fitting.reduce(0) { $0 + $1.range.clamped(to: range).count }
        return covered == range.count
            ? nil : "\(range) was not released by queue family \(giver) to \(family) before it was acquired"
    }

    private mutating func give(_ range: Range<UInt64>, to family: UInt32, releasedTo: UInt32?) {
        if let only = parts.first(where: {
            $0.range.lowerBound <= range.lowerBound && $0.range.upperBound >= range.upperBound
        }),
            only.owner == family, only.releasedTo == releasedTo
        {
            return
        }
        var next: [Part] = []
        for part in parts {
            guard part.range.overlaps(range) else {
                next.append(part)
                continue
            }
            if part.range.lowerBound < range.lowerBound {
                next.append(
                    Part(
                        range: part.range.lowerBound..<range.lowerBound, owner: part.owner, releasedTo: part.releasedTo)
                )
            }
            if part.range.upperBound > range.upperBound {
                next.append(
                    Part(
                        range: range.upperBound..<part.range.upperBound, owner: part.owner, releasedTo: part.releasedTo)
                )
            }
        }
        var range = range
        // Neighbours of the same owner become one, so that many small copies do not make many parts.
        next.removeAll { part in
            guard part.owner == family, part.releasedTo == releasedTo,
                part.range.upperBound == range.lowerBound || part.range.lowerBound == range.upperBound
            else { return false }
            range =
                min(part.range.lowerBound, range.lowerBound)..<max(part.range.upperBound, range.upperBound)
            return true
        }
        next.append(Part(range: range, owner: family, releasedTo: releasedTo))
        parts = next
    }
}

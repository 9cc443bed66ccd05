/// A latency distribution in fixed memory: buckets an eighth of a power of two wide, so any percentile is right within
/// 13 %. Values are nanoseconds, up to about 18 minutes.
public struct LatencyHistogram: Sendable {
    static let perOctave = 8
    static let bucketCount = 38 * perOctave

    var buckets: [UInt64] = []
    /// How many values were recorded.
    public private(set) var count: UInt64 = 0
    /// The largest value, in nanoseconds.
    public private(set) var max: UInt64 = 0

    /// An empty distribution.
    public init() {}

    /// Adds a value in nanoseconds.
    /// - Complexity: O(1); allocates once, with the first value.
    public mutating func record(_ nanoseconds: UInt64) {
        if buckets.isEmpty { buckets = Array(repeating: 0, count: Self.bucketCount) }
        buckets[Self.bucket(of: nanoseconds)] += 1
        count += 1
        if nanoseconds > max { max = nanoseconds }
    }

    /// The value, in nanoseconds, below which `fraction` (0 through 1) of the recorded values lie; 0 if there are none.
    public func percentile(_ fraction: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let rank = Swift.max(1, UInt64((fraction * Double(count)).rounded(.up)))
        var seen: UInt64 = 0
        for (bucket, number) in buckets.enumerated() {
            seen += number
            if seen >= rank { return Swift.min(Self.upperBound(of: bucket), max) }
        }
        return max
    }

    /// The median, in nanoseconds.
    public var p50: UInt64 { percentile(0.5) }
    /// The 99th percentile, in nanoseconds.
    public var p99: UInt64 { percentile(0.99) }

    /// Adds another distribution's values.
    public mutating func merge(_ other: LatencyHistogram) {
        guard other.count > 0 else { return }
        if buckets.isEmpty { buckets = Array(repeating: 0, count: Self.bucketCount) }
        for bucket in buckets.indices { buckets[bucket] += other.buckets[bucket] }
        count += other.count
        max = Swift.max(max, other.max)
    }

    mutating func add(_ number: UInt64, toBucket bucket: Int) {
        guard number > 0 else { return }
        if buckets.isEmpty { buckets = Array(repeating: 0, count: Self.bucketCount) }
        buckets[bucket] += number
        count += number
    }

    mutating func raiseMax(to value: UInt64) { max = Swift.max(max, value) }

    /// Values below eight have a bucket each; above, the three bits behind the leading one choose it.
    static func bucket(of value: UInt64) -> Int {
        guard value >= 8 else { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount
        let fraction = Int(value >> UInt64(exponent - 3)) & 7
        return Swift.min((exponent - 2) * perOctave + fraction, bucketCount - 1)
    }

    /// The largest value that belongs into the bucket.
    static func upperBound(of bucket: Int) -> UInt64 {
        guard bucket >= 8 else { return UInt64(bucket) }
        let exponent = bucket / perOctave + 2
        return (UInt64(9 + bucket % perOctave) << UInt64(exponent - 3)) - 1
    }
}

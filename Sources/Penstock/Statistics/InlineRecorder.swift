import Synchronization

/// Counts of the inline path, which runs on any thread: relaxed atomics in shards, so that two cores rarely meet on a
/// cache line. Two additions a request.
final class InlineRecorder: Sendable {
    private static let shards = 8
    /// Per priority: the latency buckets, then bytes and the maximum, padded to whole cache lines.
    private static let wordsPerPriority = (LatencyHistogram.bucketCount + 2 + 7) / 8 * 8
    private static let wordsPerShard = wordsPerPriority * StoragePriority.allCases.count

    // Allocated once, freed with the recorder; the words themselves are atomic.
    private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        let bytes = Self.shards * Self.wordsPerShard * MemoryLayout<Atomic<UInt64>>.stride
        words = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            .bindMemory(to: Atomic<UInt64>.self, capacity: Self.shards * Self.wordsPerShard)
        for word in 0..<Self.shards * Self.wordsPerShard { (words + word).initialize(to: Atomic(0)) }
    }

    deinit { words.deallocate() }

    func record(_ priority: StoragePriority, bytes: Int, nanoseconds: UInt64) {
        // Thread descriptors are pages apart; the multiplication spreads their middle bits.
        let shard = Int((UInt64(RingThread.currentID >> 12) &* 0x9E37_79B9_7F4A_7C15) >> 61)
        let base = words + shard * Self.wordsPerShard + Int(priority.rawValue) * Self.wordsPerPriority
        base[LatencyHistogram.bucket(of: nanoseconds)].wrappingAdd(1, ordering: .relaxed)
        base[LatencyHistogram.bucketCount].wrappingAdd(UInt64(bytes), ordering: .relaxed)
        if nanoseconds > base[LatencyHistogram.bucketCount + 1].load(ordering: .relaxed) {
            base[LatencyHistogram.bucketCount + 1].max(nanoseconds, ordering: .relaxed)
        }
    }

    func add(to statistics: inout Statistics) {
        for priority in StoragePriority.allCases {
            var flow = Statistics.Flow()
            for shard in 0..<Self.shards {
                let base = words + shard * Self.wordsPerShard + Int(priority.rawValue) * Self.wordsPerPriority
                for bucket in 0..<LatencyHistogram.bucketCount {
                    flow.latency.add(base[bucket].load(ordering: .relaxed), toBucket: bucket)
                }
                flow.bytes += base[LatencyHistogram.bucketCount].load(ordering: .relaxed)
                flow.latency.raiseMax(to: base[LatencyHistogram.bucketCount + 1].load(ordering: .relaxed))
            }
            flow.requests = flow.latency.count
            statistics.bytesRead += flow.bytes
            statistics.add(flow, .inline, priority)
        }
    }
}

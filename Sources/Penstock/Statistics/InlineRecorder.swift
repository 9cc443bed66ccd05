import CLinux
import Synchronization

/// Counts of the inline path, which runs on any thread: relaxed atomics in shards, so that two cores rarely meet on a
/// cache line. Two additions a request; the latency of one request in eight is measured, since looking at the clock twice
/// takes a thirtieth of a 4 KiB read.
final class InlineRecorder: Sendable {
    /// A request that is being read.
    struct Recording {
        fileprivate var words: UnsafeMutablePointer<Atomic<UInt64>>
        /// 0: its latency is not measured.
        fileprivate var start: UInt64
    }

    private static let shards = 8
    /// Per priority: requests, bytes, the largest latency, the latency buckets; padded to whole cache lines.
    private static let requests = 0
    private static let bytes = 1
    private static let largest = 2
    private static let buckets = 3
    private static let wordsPerPriority = (buckets + LatencyHistogram.bucketCount + 7) / 8 * 8
    private static let wordsPerShard = wordsPerPriority * StoragePriority.allCases.count
    private static let sampling: UInt64 = 8
    /// A thread lets its other tasks run after this many requests that did not suspend.
    private static let burst: UInt64 = 256

    // Allocated once, freed with the recorder; the words themselves are atomic.
    private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        let bytes = Self.shards * Self.wordsPerShard * MemoryLayout<Atomic<UInt64>>.stride
        words = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            .bindMemory(to: Atomic<UInt64>.self, capacity: Self.shards * Self.wordsPerShard)
        for word in 0..<Self.shards * Self.wordsPerShard { (words + word).initialize(to: Atomic(0)) }
    }

    deinit { words.deallocate() }

    func begin(_ priority: StoragePriority) -> Recording {
        let shard = RingThread.currentShard(of: Self.shards)
        let base = words + shard * Self.wordsPerShard + Int(priority.rawValue) * Self.wordsPerPriority
        let isSampled = base[Self.requests].load(ordering: .relaxed) % Self.sampling == 0
        return Recording(words: base, start: isSampled ? linux_monotonic_ns() : 0)
    }

    /// - Returns: Whether it is time to let other tasks run: a loop of cached reads would never suspend by itself.
    func end(_ recording: Recording, bytes: Int) -> Bool {
        let base = recording.words
        let number = base[Self.requests].wrappingAdd(1, ordering: .relaxed).newValue
        base[Self.bytes].wrappingAdd(UInt64(bytes), ordering: .relaxed)
        if recording.start > 0 { recordLatency(recording) }
        return number % Self.burst == 0
    }

    private func recordLatency(_ recording: Recording) {
        let base = recording.words
        let nanoseconds = linux_monotonic_ns() - recording.start
        base[Self.buckets + LatencyHistogram.bucket(of: nanoseconds)].wrappingAdd(1, ordering: .relaxed)
        base[Self.largest].max(nanoseconds, ordering: .relaxed)
    }

    func add(to statistics: inout Statistics) {
        for priority in StoragePriority.allCases {
            var flow = Statistics.Flow()
            for shard in 0..<Self.shards {
                let base = words + shard * Self.wordsPerShard + Int(priority.rawValue) * Self.wordsPerPriority
                flow.requests += base[Self.requests].load(ordering: .relaxed)
                flow.bytes += base[Self.bytes].load(ordering: .relaxed)
                for bucket in 0..<LatencyHistogram.bucketCount {
                    flow.latency.add(base[Self.buckets + bucket].load(ordering: .relaxed), toBucket: bucket)
                }
                flow.latency.raiseMax(to: base[Self.largest].load(ordering: .relaxed))
            }
            statistics.bytesRead += flow.bytes
            statistics.add(flow, .inline, priority)
        }
    }
}

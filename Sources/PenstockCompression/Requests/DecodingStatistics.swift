import Penstock

/// What a queue has decoded where, and how long it took; a snapshot.
public struct DecodingStatistics: Sendable {
    /// Work done on one kind of processor.
    public struct Work: Sendable {
        /// Chunks decoded.
        public var chunks: UInt64 = 0
        /// Their bytes in the file.
        public var encodedBytes: UInt64 = 0
        /// The bytes that they decode to.
        public var decodedBytes: UInt64 = 0
        /// Nanoseconds that it took, on all processors of the kind together.
        public var nanoseconds: UInt64 = 0

        /// So much work.
        public init(
            chunks: UInt64 = 0, encodedBytes: UInt64 = 0, decodedBytes: UInt64 = 0, nanoseconds: UInt64 = 0
        ) {
            self.chunks = chunks
            self.encodedBytes = encodedBytes
            self.decodedBytes = decodedBytes
            self.nanoseconds = nanoseconds
        }

        static func += (sum: inout Work, work: Work) {
            sum.chunks += work.chunks
            sum.encodedBytes += work.encodedBytes
            sum.decodedBytes += work.decodedBytes
            sum.nanoseconds += work.nanoseconds
        }
    }

    /// What the queue's workers have decoded.
    public internal(set) var cpu = Work()
    /// What GPUs have decoded.
    public internal(set) var gpu = Work()
    /// What of ``gpu`` was decoded with `VK_EXT_memory_decompression` or `VK_NV_memory_decompression`; the rest with the
    /// compute shader.
    public internal(set) var memoryDecompression = Work()
}

/// Counts what is decoded, from any thread.
final class DecodingCounters: Sendable {
    private let total = Locked(DecodingStatistics())

    var snapshot: DecodingStatistics { total.withLock { $0 } }

    func add(_ work: DecodingStatistics.Work, onGPU: Bool = false, isDecompressed: Bool = false) {
        total.withLock { total in
            if onGPU { total.gpu += work } else { total.cpu += work }
            if isDecompressed { total.memoryDecompression += work }
        }
    }
}

extension StorageQueue {
    /// What the queue has decoded.
    public nonisolated var decodingStatistics: DecodingStatistics {
        (try? codecWorkers.counters.snapshot) ?? DecodingStatistics()
    }
}

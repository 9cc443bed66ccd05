/// What a queue has done and where it stands; a snapshot.
public struct Statistics: Sendable {
    /// How a request's bytes travelled.
    public enum Path: String, Sendable, CaseIterable {
        /// On the caller's own thread, out of the page cache.
        case inline
        /// Through the driver and the page cache.
        case buffered
        /// Through the driver, at least in part around the page cache.
        case direct
        /// By way of staging memory, to or from a GPU.
        case staged
    }

    /// Requests and their latency, from the call to the completion's delivery.
    public struct Flow: Sendable {
        /// Requests that ended, in whatever way.
        public var requests: UInt64 = 0
        /// Bytes moved.
        public var bytes: UInt64 = 0
        /// Nanoseconds a request took. Of inline reads, one in eight is measured, so its count is smaller than `requests`.
        public var latency = LatencyHistogram()

        mutating func merge(_ other: Flow) {
            requests += other.requests
            bytes += other.bytes
            latency.merge(other.latency)
        }
    }

    /// The driver that moves what is not inline.
    public let driver: DriverKind
    private var flows: [Path: [StoragePriority: Flow]] = [:]

    /// Bytes read.
    public internal(set) var bytesRead: UInt64 = 0
    /// Bytes written.
    public internal(set) var bytesWritten: UInt64 = 0
    /// Requests that ended with an error, cancelled ones not counted.
    public internal(set) var failed: UInt64 = 0
    /// Requests that ended because someone asked for it, or their deadline passed.
    public internal(set) var cancelled: UInt64 = 0
    /// System calls that were repeated: short transfers, EAGAIN, EINTR, fallbacks.
    public internal(set) var retries: UInt64 = 0

    /// Calls admitted and not ended; a batch counts once per priority.
    public internal(set) var callsWaiting = 0
    /// The most of those there have been.
    public internal(set) var peakCallsWaiting = 0
    /// Bytes in flight now.
    public internal(set) var bytesInFlight = 0
    /// The most of those there have been.
    public internal(set) var peakBytesInFlight = 0
    /// Pieces in flight now.
    public internal(set) var piecesInFlight = 0
    /// Bytes that may still be put in flight.
    public internal(set) var creditsLeft = 0

    /// Bytes of host memory mapped for buffers.
    public internal(set) var memoryMapped = 0
    /// Bytes of it in use.
    public internal(set) var memoryInUse = 0
    /// The most that were in use.
    public internal(set) var peakMemoryInUse = 0
    /// Bytes of staging memory for GPUs that are in use.
    public internal(set) var stagingInUse = 0
    /// The most that were in use, for one GPU.
    public internal(set) var peakStagingInUse = 0

    init(driver: DriverKind) { self.driver = driver }

    /// Requests by path and priority; either may be left out to take all.
    public func flow(_ path: Path? = nil, _ priority: StoragePriority? = nil) -> Flow {
        var sum = Flow()
        for (flowPath, byPriority) in flows where path == nil || path == flowPath {
            for (flowPriority, flow) in byPriority where priority == nil || priority == flowPriority { sum.merge(flow) }
        }
        return sum
    }

    mutating func add(_ flow: Flow, _ path: Path, _ priority: StoragePriority) {
        flows[path, default: [:]][priority, default: Flow()].merge(flow)
    }

    /// Requests that ended.
    public var requests: UInt64 { flow().requests }
}

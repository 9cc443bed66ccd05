extension StorageQueue {
    /// A queue's limits and choices. The defaults suit a game on a desktop; every limit is one.
    public struct Configuration: Sendable {
        /// Which driver to use.
        public enum DriverChoice: Sendable, Hashable {
            /// io_uring where it works, else threads. `PENSTOCK_DRIVER=threads` or `=io_uring` overrides it.
            case automatic
            /// io_uring, or an error that says why not.
            case ioUring
            /// Blocking system calls on this many threads; nil: one for each processor, at least 2 and at most 8.
            case threads(Int? = nil)
        }

        /// How requests are ordered.
        public enum Ordering: Sendable {
            /// By priority, many at a time.
            case concurrent
            /// In the order of their calls, one at a time, whatever their priority.
            case serial
        }

        /// The queue's name: of its thread (the first 15 bytes) and in logs.
        public var name = "penstock"
        /// Which driver to use.
        public var driver = DriverChoice.automatic
        /// How requests are ordered.
        public var ordering = Ordering.concurrent
        /// Bytes in flight, at most. More than about 2 MiB only adds latency on most disks.
        public var bytesInFlight = 4 << 20
        /// How many of ``bytesInFlight`` only urgent requests may use.
        public var urgentReserve = 1 << 20
        /// Pieces in flight, at most.
        public var requestsInFlight = 256
        /// Requests larger than this travel in pieces of this size, so that they cannot block the way. A multiple of 4096.
        public var pieceSize = 1 << 20
        /// Reads up to this size are tried on the caller's own thread first, out of the page cache and without a hop;
        /// 0 switches that off. Copying 1 MiB takes about 0.1 ms.
        public var inlineLimit = 1 << 20
        /// Host memory for buffers, at most. Who asks for more waits until some is returned.
        public var hostMemoryLimit = 1 << 30
        /// Memory for bytes on their way to or from a GPU, for each GPU, at most. Requests wait for it; larger ones travel in
        /// pieces. What is in flight should fit into the processor's cache: more than this made streaming slower.
        public var stagingBytes = 8 << 20
        /// How long the thread looks for work after a busy turn before it parks. A wake-up costs both sides more than that.
        public var spinMicroseconds = 20
        /// Called with each request that has ended: on the queue's thread, or on the caller's for those finished there
        /// (which carry no tag and no label). It must be quick. Costs nothing when nil. A whole file that the page cache
        /// holds is loaded on the caller's thread without a trace.
        public var trace: (@Sendable (StorageTrace) -> Void)?

        /// What a host has run on the queue's thread before anything else of its own, and after.
        package var threadHooks: ThreadHooks?
        /// Where slabs come from, other than those that a GPU must allocate.
        package var slabSource = SlabSource.mappings

        /// The defaults.
        public init() {}

        func validate() throws(StorageError) {
            func require(_ condition: Bool, _ message: String) throws(StorageError) {
                guard condition else { throw StorageError(.invalidArgument, .setUp, message: message) }
            }
            try require(bytesInFlight > 0, "bytesInFlight must be positive")
            try require(
                urgentReserve >= 0 && urgentReserve < bytesInFlight, "urgentReserve must be less than bytesInFlight")
            try require((2...4096).contains(requestsInFlight), "requestsInFlight must be from 2 through 4096")
            try require(
                pieceSize >= 4096 && pieceSize % 4096 == 0 && pieceSize <= 1 << 30,
                "pieceSize must be a multiple of 4096, at most 1 GiB")
            try require(inlineLimit >= 0, "inlineLimit must not be negative")
            try require(hostMemoryLimit >= 2 << 20, "hostMemoryLimit must be at least 2 MiB")
            try require(stagingBytes >= 4 << 20, "stagingBytes must be at least 4 MiB")
            try require((0...1000).contains(spinMicroseconds), "spinMicroseconds must be from 0 through 1000")
            if case .threads(let count?) = driver {
                try require((1...256).contains(count), "the thread pool must have from 1 through 256 threads")
            }
        }

        func limits(depth: Int) -> Scheduler.Limits {
            let bytes = min(bytesInFlight, SlabArena.largestLimit)
            return Scheduler.Limits(
                bytes: bytes, urgentReserve: min(urgentReserve, bytes - 1), pieces: depth, urgentPieces: depth / 8,
                quantum: pieceSize, serial: ordering == .serial)
        }
    }
}

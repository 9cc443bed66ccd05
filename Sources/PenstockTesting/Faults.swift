extension SimulatedDisk {
    /// What goes wrong on a simulated disk. Chances are from 0 through 1, for each operation.
    public struct Faults: Sendable {
        /// Fewer bytes are moved than asked, at least one.
        public var shortTransfers = 0.0
        /// `EINTR`.
        public var interruptions = 0.0
        /// `EAGAIN`.
        public var again = 0.0
        /// `ECANCELED` that nobody asked for, as when a thread of the kernel's ends. At most once in a row.
        public var strayCancellations = 0.0
        /// `EIO`, for good: the request fails.
        public var ioErrors = 0.0
        /// `EINVAL` from direct I/O, as on file systems that accept `O_DIRECT` and then fail reads.
        public var directRefusals = 0.0
        /// A cancellation stops an operation in flight, rather than coming too late.
        public var cancellable = 0.5
        /// How long an operation takes, at least and at most. A range reorders completions.
        public var delay: ClosedRange<Duration> = .zero ... .zero
        /// How much of the disk counts as being in the page cache.
        public var cached = 0.5

        /// Nothing goes wrong and nothing takes time.
        public static let none = Faults()

        /// A bad day: everything that a queue must hide, and some delay; no `EIO`.
        public static let everything: Faults = {
            var faults = Faults()
            faults.shortTransfers = 0.2
            faults.interruptions = 0.05
            faults.again = 0.05
            faults.strayCancellations = 0.03
            faults.directRefusals = 0.02
            faults.delay = .microseconds(10) ... .milliseconds(5)
            return faults
        }()

        /// Makes faults from nothing.
        public init() {}
    }
}

/// A small generator whose whole state is its seed: Steele, Lea and Flood's SplitMix64.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    mutating func chance(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &self) < probability
    }
}

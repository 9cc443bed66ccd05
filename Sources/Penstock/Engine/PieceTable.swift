/// What is in flight: a fixed table of slots, named by generation-tagged indexes that travel through the kernel as
/// `user_data`. A completion that names an older use of a slot finds nothing, and only the terminal completion frees one.
struct PieceTable: ~Copyable {
    enum Work {
        case free
        /// A piece of a request.
        case piece
        /// An operation with a closure that waits for its result.
        case control
    }

    struct Slot {
        var work = Work.free
        var generation: UInt32 = 1
        var nextFree: Int32 = -1
        var attempts: UInt16 = 0
        var bounceBlock: Int16 = -1
        /// The last attempt ended with a cancellation that nobody here had asked for.
        var wasStray = false
        /// The last attempt was sent with `RWF_DONTCACHE`.
        var wasUncached = false
        var submission: Unmanaged<Submission>?
        /// Where the piece's bytes land or come from.
        var memory = UnsafeMutableRawPointer(bitPattern: SlabArena.smallestBlock)!
        /// Staging memory, where the request has a sink.
        var block: SlabArena.Block?
        var record: Int32 = 0
        var plan = PiecePlan(route: .buffered, offset: 0, length: 0, count: 0)
        /// Where the piece's bytes start in its request.
        var start = 0
        /// Bytes the system call has moved, over all its attempts.
        var progress = 0
    }

    private let slots: UnsafeMutablePointer<Slot>
    let capacity: Int
    private var firstFree: Int32 = -1
    private(set) var inUse = 0

    init(capacity: Int) {
        self.capacity = capacity
        slots = .allocate(capacity: capacity)
        slots.initialize(repeating: Slot(), count: capacity)
        for index in stride(from: capacity - 1, through: 0, by: -1) {
            slots[index].nextFree = firstFree
            firstFree = Int32(index)
        }
    }

    deinit { slots.deallocate() }  // a slot is plain data

    var hasRoom: Bool { firstFree >= 0 }

    /// A slot in use now. The pointer is good until the slot is freed.
    subscript(index: Int) -> UnsafeMutablePointer<Slot> { slots + index }

    mutating func take(_ work: Work) -> Int {
        let index = Int(firstFree)
        precondition(index >= 0, "the scheduler admits no more pieces than there are slots")
        firstFree = slots[index].nextFree
        let generation = slots[index].generation
        slots[index] = Slot(work: work, generation: generation)
        inUse += 1
        return index
    }

    mutating func free(_ index: Int) {
        slots[index].work = .free
        // 31 bits: the top bit of a token belongs to the driver.
        slots[index].generation = (slots[index].generation &+ 1) & 0x7FFF_FFFF
        slots[index].nextFree = firstFree
        firstFree = Int32(index)
        inUse -= 1
    }

    func token(of index: Int) -> UInt64 { UInt64(slots[index].generation) << 32 | UInt64(index) }

    /// The slot that a token names, unless its use is over.
    func find(_ token: UInt64) -> Int? {
        let index = Int(token & 0xFFFF_FFFF)
        guard index < capacity, slots[index].work != .free, UInt64(slots[index].generation) == token >> 32 else {
            return nil
        }
        return index
    }

    /// Calls `body` with each slot that serves the submission.
    func forEach(of submission: Submission, _ body: (Int) -> Void) {
        for index in 0..<capacity where slots[index].work == .piece {
            if slots[index].submission?.toOpaque() == Unmanaged.passUnretained(submission).toOpaque() { body(index) }
        }
    }
}

/// Bounce blocks for the unaligned ends of direct reads: one slab, made at first use.
struct BounceStore: ~Copyable {
    static let blockSize = 128 << 10
    private static let count = SlabArena.slabSize / blockSize
    private var base: UnsafeMutableRawPointer?
    private var free: [Int16] = []

    init() {}

    deinit { if let base { unmapSlab(base) } }

    /// A block's number, or nil when all are in use; the piece then goes through the page cache.
    mutating func take() -> Int16? {
        if base == nil {
            guard let slab = mapSlab() else { return nil }
            base = slab
            free = (0..<Int16(Self.count)).reversed()
        }
        return free.popLast()
    }

    mutating func giveBack(_ block: Int16) { free.append(block) }

    func address(of block: Int16) -> UnsafeMutableRawPointer { base! + Int(block) * Self.blockSize }
}

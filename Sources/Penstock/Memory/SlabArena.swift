import CLinux
import DequeModule
import Synchronization

/// Host memory in 2 MiB slabs on huge pages, touched before use, handed out in blocks and used again.
///
/// A slab serves blocks of one size (a power of two from 4 KiB to 2 MiB) and returns to the common store when its last
/// block does, so that no size can hold on to memory that another needs. Larger blocks are mappings of their own, in
/// multiples of a slab, a few of which are kept for reuse; whoever gets a new one touches it, outside the arena's lock.
///
/// Why page-aligned blocks only: a destination a few bytes past a page start makes even a plain `pread` 5–7 × slower.
package final class SlabArena: Sendable {
    package static let slabSize = 2 << 20
    package static let smallestBlock = 4096
    /// More than any machine has, and little enough to be added to.
    static let largestLimit = 1 << 48
    static let classCount = 10  // 4 KiB << 9 = 2 MiB
    /// Freed mappings larger than a slab that wait for reuse, at most.
    static let keptMappings = 8

    /// A block: where it is and how to give it back.
    package struct Block: Sendable {
        // The memory belongs to whoever holds the block until `release`.
        package nonisolated(unsafe) let address: UnsafeMutableRawPointer
        package let capacity: Int
        /// The slab's number; −1 for a mapping of its own.
        package let slab: Int
        /// A mapping that nobody has touched yet.
        var isFresh = false

        /// The block, touched, which takes a fresh one 0.1 ms for each of its megabytes: not under a lock, nor, by those who can
        /// wait, on the ring thread.
        func touched() -> Block {
            if isFresh { linux_populate(address, capacity) }
            return Block(address: address, capacity: capacity, slab: slab)
        }
    }

    /// What comes of waiting for a block.
    package enum Grant: Sendable {
        case block(Block)
        case withdrawn
        /// Nothing is out that could come back, and there is no memory to be had from where slabs come from.
        case outOfMemory

        package var block: Block? { if case .block(let block) = self { block } else { nil } }
    }

    private let state = Locked(State())
    private let cache = BlockCache(sizes: SlabArena.classCount)
    /// Someone waits for memory: nothing may go into the cache. Changed under the lock.
    private let hasWaiters = Atomic<Bool>(false)
    /// The most bytes that are mapped at once, but for the reserve.
    package let limit: Int
    /// The number of the reserve's slab; −1: there is none. Changed under the lock.
    private let reserveSlab = Atomic<Int>(-1)

    private let source: SlabSource

    package init(limit: Int, source: SlabSource = .mappings) {
        self.limit = min(max(limit, Self.slabSize), Self.largestLimit)
        self.source = source
    }

    deinit {
        // Blocks keep the arena alive, so none is out.
        state.withLock { $0.unmapAll(source) }
    }

    /// Keeps one more slab, beyond the limit, for those who must go on whatever the others do. Once; without memory there is
    /// none.
    package func keepReserve() {
        state.withLock { state in
            guard let (base, _) = source.map(Self.slabSize) else { return }
            state.slabs.append(Slab(base: base, sizeClass: Self.classCount - 1, free: []))
            let slab = state.slabs.count - 1
            reserveSlab.store(slab, ordering: .relaxed)
            state.reserve = Block(address: base, capacity: Self.slabSize, slab: slab)
        }
    }

    /// The reserve, of a slab's size, if it is not out.
    package func takeReserve() -> Block? { state.withLock { $0.takeReserve() } }

    /// Nobody gets a block any more; the memory goes as soon as the last one is back, which may be now.
    package func retire() {
        state.withLock { state in
            // As if someone waited: blocks that come back must not lie in the cache.
            hasWaiters.store(true, ordering: .sequentiallyConsistent)
            state.isRetired = true
            _ = drainCache(into: &state)
            state.unmapIfRetired(source)
        }
        withdrawAll()
    }

    /// Ends all waiting, with nothing.
    package func withdrawAll() {
        let waiters = state.withLock { state in
            defer {
                state.waiters = []
                state.reserveWaiters = 0
            }
            if !state.isRetired { hasWaiters.store(false, ordering: .sequentiallyConsistent) }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(.withdrawn) }
    }

    package struct Usage: Sendable {
        package var mapped: Int
        package var used: Int
        package var peak: Int
        package var hugePages: Bool
    }

    package var usage: Usage {
        let cached = cache.byteCount
        return state.withLock { state in
            Usage(
                mapped: state.mapped, used: max(0, state.used - cached), peak: state.peak, hugePages: state.hugePages)
        }
    }

    /// A block of at least `size` bytes, or nil when the limit leaves no room for it now. The calling thread touches it.
    package func take(_ size: Int) -> Block? { takeAsItIs(size)?.touched() }

    /// The same, but for the touch.
    func takeAsItIs(_ size: Int) -> Block? {
        if size <= Self.slabSize {
            let sizeClass = State.sizeClass(of: size)
            if let (address, slab) = cache.take(sizeClass) {
                return Block(address: address, capacity: Self.smallestBlock << sizeClass, slab: slab)
            }
        }
        return state.withLock { state in
            // Whoever waits goes first; otherwise a large waiter would starve behind small callers.
            guard state.waiters.isEmpty else { return nil }
            if let block = state.take(size, limit: limit, source) { return block }
            return drainCache(into: &state) ? state.take(size, limit: limit, source) : nil
        }
    }

    /// Puts what lies in the cache back into the books. Under the lock.
    private func drainCache(into state: inout State) -> Bool {
        var returned: [Block] = []
        cache.drain { address, slab, sizeClass in
            returned.append(Block(address: address, capacity: Self.smallestBlock << sizeClass, slab: slab))
        }
        for block in returned { state.release(block, source) }
        return !returned.isEmpty
    }

    /// Whether a block of this size can ever be had.
    package func canEverHold(_ size: Int) -> Bool { State.footprint(of: size) <= limit }

    /// Whether blocks of these sizes can ever be out at the same time, however they lie.
    package func canEverHold(together sizes: [Int]) -> Bool {
        var left = limit
        for size in sizes {
            let footprint = State.footprint(of: size)
            guard footprint <= left else { return false }
            left -= footprint
        }
        return true
    }

    /// Calls back with a block: at once if there is room, else when enough has been returned, or when waiting is over without.
    ///
    /// - Parameter takesReserve: The reserve will do as well.
    /// - Returns: A number to withdraw the call with, or nil if it has been called already.
    package func whenAvailable(
        _ size: Int, orReserve takesReserve: Bool = false, _ resume: @escaping @Sendable (Grant) -> Void
    ) -> UInt64? {
        let (grant, id): (Grant?, UInt64) = state.withLock { state in
            // In this order: who puts a block into the cache looks at the flag afterwards, and takes it out again.
            hasWaiters.store(true, ordering: .sequentiallyConsistent)
            _ = drainCache(into: &state)
            if state.waiters.isEmpty, let block = state.take(size, limit: limit, source) {
                hasWaiters.store(false, ordering: .sequentiallyConsistent)
                return (.block(block), 0)
            }
            guard !state.isRetired else { return (.withdrawn, 0) }
            if takesReserve, let block = state.takeReserve() {
                hasWaiters.store(!state.waiters.isEmpty, ordering: .sequentiallyConsistent)
                return (.block(block), 0)
            }
            // Behind others, what the cache has just given back is theirs: whoever put it there is about to serve them.
            if state.waiters.isEmpty, state.isExhausted(for: size, limit: limit) {
                hasWaiters.store(false, ordering: .sequentiallyConsistent)
                return (.outOfMemory, 0)
            }
            state.nextWaiter += 1
            state.waiters.append(
                Waiter(id: state.nextWaiter, size: size, takesReserve: takesReserve, resume: resume))
            if takesReserve { state.reserveWaiters += 1 }
            return (nil, state.nextWaiter)
        }
        guard let grant else { return id }
        resume(grant)
        return nil
    }

    /// The slabs that are gone since the last call: whoever has registered them may let go of them.
    package func takeUnmappedSlabs() -> [Int] {
        state.withLock { state in
            guard !state.unmapped.isEmpty else { return [] }
            defer { state.unmapped = [] }
            return state.unmapped
        }
    }

    /// Where the slab of that number lies.
    package func base(ofSlab slab: Int) -> UnsafeMutableRawPointer { state.withLock { $0.slabs[slab].base } }

    package func withdraw(_ id: UInt64) {
        var served: [(Waiter, Grant)] = []
        let waiter: Waiter? = state.withLock { state in
            guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return nil as Waiter? }
            let waiter = state.removeWaiter(at: index)
            // The one behind it may fit where it did not.
            served = serve(&state)
            return waiter
        }
        waiter?.resume(.withdrawn)
        for (waiter, grant) in served { waiter.resume(grant) }
    }

    package func release(_ block: Block) {
        if block.slab >= 0, block.slab != reserveSlab.load(ordering: .relaxed),
            !hasWaiters.load(ordering: .sequentiallyConsistent),
            cache.put(block.address, slab: block.slab, size: State.sizeClass(of: block.capacity))
        {
            guard hasWaiters.load(ordering: .sequentiallyConsistent) else { return }
            let served = state.withLock { state in
                // Who has just begun to wait may have taken the block out, for want of room behind others: serve in any case.
                _ = drainCache(into: &state)
                return serve(&state)
            }
            for (waiter, grant) in served { waiter.resume(grant) }
            return
        }
        let served = state.withLock { state in
            if block.slab >= 0, block.slab == reserveSlab.load(ordering: .relaxed) {
                state.used -= block.capacity
                state.reserve = block
            } else {
                state.release(block, source)
            }
            return serve(&state)
        }
        for (waiter, grant) in served { waiter.resume(grant) }
    }

    /// Gives those that wait what there is, in their order. Under the lock.
    private func serve(_ state: inout State) -> [(Waiter, Grant)] {
        state.unmapIfRetired(source)
        let served = state.serve(limit: limit, source)
        if !state.isRetired { hasWaiters.store(!state.waiters.isEmpty, ordering: .sequentiallyConsistent) }
        return served
    }
}

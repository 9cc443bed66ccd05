import CLinux
import DequeModule
import Synchronization

/// Host memory in 2 MiB slabs on huge pages, touched before use, handed out in blocks and used again.
///
/// A slab serves blocks of one size (a power of two from 4 KiB to 2 MiB) and returns to the common store when its last
/// block does, so that no size can hold on to memory that another needs. Larger blocks are mappings of their own, in
/// multiples of a slab, a few of which are kept for reuse.
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
    }

    fileprivate struct Slab {
        var base: UnsafeMutableRawPointer
        var sizeClass: Int
        var free: [UInt16]
        var used = 0
        /// False once its memory went to a larger block; the number is never used again.
        var isMapped = true
    }

    /// What comes of waiting for a block.
    package enum Grant: Sendable {
        case block(Block)
        case withdrawn
        /// Nothing is out that could come back, and there is no memory to be had from where slabs come from.
        case outOfMemory

        package var block: Block? { if case .block(let block) = self { block } else { nil } }
    }

    fileprivate struct Waiter {
        var id: UInt64
        var size: Int
        var takesReserve: Bool
        var resume: @Sendable (Grant) -> Void
    }

    // Guarded by the mutex; the pointers in it are to memory that this arena owns.
    fileprivate struct State: @unchecked Sendable {
        var slabs: [Slab] = []
        var emptySlabs: [Int] = []
        /// Numbers of slabs unmapped since the last ``SlabArena/takeUnmappedSlabs()``.
        var unmapped: [Int] = []
        var partial: [[Int]] = Array(repeating: [], count: SlabArena.classCount)
        var kept: [(base: UnsafeMutableRawPointer, size: Int)] = []
        var mapped = 0
        var used = 0
        var peak = 0
        var hugePages = true
        var waiters: Deque<Waiter> = []
        /// How many of them the reserve would do for: there may be a hundred thousand others.
        var reserveWaiters = 0
        var nextWaiter: UInt64 = 0
        var isRetired = false
        /// A slab beyond the limit, for those who ask for it; nil: there is none, or it is out.
        var reserve: Block?
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

    /// A block of at least `size` bytes, or nil when the limit leaves no room for it now.
    package func take(_ size: Int) -> Block? {
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

extension SlabArena.State {
    private typealias Arena = SlabArena

    static func sizeClass(of size: Int) -> Int {
        let pages = (max(size, 1) + Arena.smallestBlock - 1) / Arena.smallestBlock
        return pages == 1 ? 0 : Int.bitWidth - (pages - 1).leadingZeroBitCount
    }

    static func footprint(of size: Int) -> Int {
        guard size <= Int.max - Arena.slabSize else { return Int.max }
        return max(1, (size + Arena.slabSize - 1) / Arena.slabSize) * Arena.slabSize
    }

    mutating func unmapIfRetired(_ source: SlabSource) {
        if isRetired, used == 0 { unmapAll(source) }
    }

    mutating func unmapAll(_ source: SlabSource) {
        for index in slabs.indices where slabs[index].isMapped {
            source.unmap(slabs[index].base, Arena.slabSize)
            slabs[index].isMapped = false
        }
        for mapping in kept { source.unmap(mapping.base, mapping.size) }
        kept = []
    }

    mutating func take(_ size: Int, limit: Int, _ source: SlabSource) -> SlabArena.Block? {
        guard !isRetired else { return nil }
        guard size <= Arena.slabSize else {
            let footprint = Self.footprint(of: size)
            // What can never be had must not cost the others their kept memory.
            return footprint <= limit ? takeMapping(footprint, limit: limit, source) : nil
        }
        let sizeClass = Self.sizeClass(of: size)
        let blockSize = Arena.smallestBlock << sizeClass
        guard let slab = partial[sizeClass].last ?? startSlab(sizeClass, limit: limit, source) else { return nil }
        let block = slabs[slab].free.removeLast()
        slabs[slab].used += 1
        if slabs[slab].free.isEmpty { partial[sizeClass].removeLast() }
        account(blockSize)
        return SlabArena.Block(address: slabs[slab].base + Int(block) * blockSize, capacity: blockSize, slab: slab)
    }

    mutating func takeReserve() -> SlabArena.Block? {
        guard !isRetired, let block = reserve else { return nil }
        reserve = nil
        account(block.capacity)
        return block
    }

    mutating func release(_ block: SlabArena.Block, _ source: SlabSource) {
        used -= block.capacity
        guard block.slab >= 0 else {
            if kept.count < Arena.keptMappings {
                kept.append((block.address, block.capacity))
            } else {
                source.unmap(block.address, block.capacity)
                mapped -= block.capacity
            }
            return
        }
        let sizeClass = slabs[block.slab].sizeClass
        if slabs[block.slab].free.isEmpty { partial[sizeClass].append(block.slab) }
        slabs[block.slab].free.append(UInt16((block.address - slabs[block.slab].base) / block.capacity))
        slabs[block.slab].used -= 1
        // The last partial slab of a size stays: a caller that takes and returns one block must not rebuild it.
        if slabs[block.slab].used == 0, partial[sizeClass].count > 1 {
            partial[sizeClass].removeAll { $0 == block.slab }
            emptySlabs.append(block.slab)
        }
    }

    mutating func serve(limit: Int, _ source: SlabSource) -> [(SlabArena.Waiter, SlabArena.Grant)] {
        var served: [(SlabArena.Waiter, SlabArena.Grant)] = []
        while let first = waiters.first {
            if let block = take(first.size, limit: limit, source) {
                served.append((removeWaiter(at: 0), .block(block)))
            } else if isExhausted(for: first.size, limit: limit) {
                served.append((removeWaiter(at: 0), .outOfMemory))
            } else {
                break
            }
        }
        // However far behind: whoever takes it needs nobody in front.
        if reserveWaiters > 0, let block = takeReserve() {
            let index = waiters.firstIndex(where: \.takesReserve)!
            served.append((removeWaiter(at: index), .block(block)))
        }
        return served
    }

    mutating func removeWaiter(at index: Int) -> SlabArena.Waiter {
        let waiter = waiters.remove(at: index)
        if waiter.takesReserve { reserveWaiters -= 1 }
        return waiter
    }

    /// Whether a block that could not be had will never be: nothing is out, and it is not the limit that was in the way.
    func isExhausted(for size: Int, limit: Int) -> Bool {
        used == 0 && !isRetired && Self.footprint(of: size) <= limit
    }

    private mutating func startSlab(_ sizeClass: Int, limit: Int, _ source: SlabSource) -> Int? {
        let slab: Int
        if let empty = emptySlabs.popLast() ?? emptyPartial() {
            slab = empty
        } else {
            guard let base = map(Arena.slabSize, limit: limit, source) else { return nil }
            slabs.append(SlabArena.Slab(base: base, sizeClass: sizeClass, free: []))
            slab = slabs.count - 1
        }
        let blocks = Arena.slabSize / (Arena.smallestBlock << sizeClass)
        slabs[slab].sizeClass = sizeClass
        slabs[slab].free.removeAll(keepingCapacity: true)
        for block in stride(from: blocks - 1, through: 0, by: -1) { slabs[slab].free.append(UInt16(block)) }
        partial[sizeClass].append(slab)
        return slab
    }

    /// A slab that another size keeps although none of its blocks is out.
    private mutating func emptyPartial() -> Int? {
        for sizeClass in partial.indices {
            if let index = partial[sizeClass].firstIndex(where: { slabs[$0].used == 0 }) {
                return partial[sizeClass].remove(at: index)
            }
        }
        return nil
    }

    private mutating func takeMapping(_ size: Int, limit: Int, _ source: SlabSource) -> SlabArena.Block? {
        let fitting = kept.indices.filter { kept[$0].size >= size && kept[$0].size <= 2 * size }
        if let index = fitting.min(by: { kept[$0].size < kept[$1].size }) {
            let mapping = kept.remove(at: index)
            account(mapping.size)
            return SlabArena.Block(address: mapping.base, capacity: mapping.size, slab: -1)
        }
        guard let base = map(size, limit: limit, source) else { return nil }
        account(size)
        return SlabArena.Block(address: base, capacity: size, slab: -1)
    }

    private mutating func map(_ size: Int, limit: Int, _ source: SlabSource) -> UnsafeMutableRawPointer? {
        while mapped + size > limit, let mapping = kept.popLast() {
            source.unmap(mapping.base, mapping.size)
            mapped -= mapping.size
        }
        // Slabs of which nothing is out give way too, or a large block could wait for ever with nothing in use.
        while mapped + size > limit, let slab = emptySlabs.popLast() ?? emptyPartial() {
            source.unmap(slabs[slab].base, Arena.slabSize)
            slabs[slab].isMapped = false
            slabs[slab].free = []
            unmapped.append(slab)
            mapped -= Arena.slabSize
        }
        guard mapped + size <= limit, let (base, isHuge) = source.map(size) else { return nil }
        if !isHuge { hugePages = false }
        mapped += size
        return base
    }

    private mutating func account(_ size: Int) {
        used += size
        peak = max(peak, used)
    }
}

/// Where an arena's memory comes from.
package struct SlabSource: Sendable {
    /// A mapping of so many bytes, page-aligned and touched, and whether it is on huge pages; nil: there is no memory.
    package let map: @Sendable (Int) -> (base: UnsafeMutableRawPointer, isHuge: Bool)?
    package let unmap: @Sendable (UnsafeMutableRawPointer, Int) -> Void

    package init(
        map: @escaping @Sendable (Int) -> (base: UnsafeMutableRawPointer, isHuge: Bool)?,
        unmap: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
    ) {
        self.map = map
        self.unmap = unmap
    }

    /// The kernel's: aligned to slabs, on huge pages where there are any.
    package static let mappings = SlabSource(
        map: { size in
            guard let base = linux_map_aligned(size, SlabArena.slabSize) else { return nil }
            let isHuge = linux_advise_huge(base, size)
            linux_populate(base, size)
            return (base, isHuge)
        },
        unmap: { linux_unmap($0, $1) })

    /// Somebody else's allocator.
    ///
    /// - Parameter allocate: Gets a size and an alignment, a power of two.
    package init(
        allocate: @escaping @Sendable (Int, Int) -> UnsafeMutableRawPointer?,
        deallocate: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
    ) {
        self.init(
            map: { size in
                guard let base = allocate(size, SlabArena.slabSize) else { return nil }
                // Blocks are told from one another by where their pages are.
                guard UInt(bitPattern: base) % UInt(SlabArena.slabSize) == 0 else {
                    deallocate(base, size)
                    return nil
                }
                let isHuge = linux_advise_huge(base, size)
                linux_populate(base, size)
                return (base, isHuge)
            }, unmap: deallocate)
    }
}

/// One slab outside any arena, on huge pages where possible, touched; nil when the kernel has no memory.
func mapSlab() -> UnsafeMutableRawPointer? {
    guard let base = linux_map_aligned(SlabArena.slabSize, SlabArena.slabSize) else { return nil }
    _ = linux_advise_huge(base, SlabArena.slabSize)
    linux_populate(base, SlabArena.slabSize)
    return base
}

func unmapSlab(_ base: UnsafeMutableRawPointer) { linux_unmap(base, SlabArena.slabSize) }

import DequeModule

/// An arena's books: which slabs there are, what of them is out, and who waits. All under the arena's lock.
extension SlabArena {
    struct Slab {
        var base: UnsafeMutableRawPointer
        var sizeClass: Int
        var free: [UInt16]
        var used = 0
        /// False once its memory went to a larger block; the number is never used again.
        var isMapped = true
    }

    struct Waiter {
        var id: UInt64
        var size: Int
        var takesReserve: Bool
        var resume: @Sendable (Grant) -> Void
    }

    // Guarded by the mutex; the pointers in it are to memory that this arena owns.
    struct State: @unchecked Sendable {
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
        (kept, emptySlabs, reserve) = ([], [], nil)
        partial = partial.map { _ in [] }
        mapped = 0
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
        return SlabArena.Block(address: base, capacity: size, slab: -1, isFresh: true)
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

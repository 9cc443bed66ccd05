import Synchronization

/// Blocks returned a moment ago, within reach of the next taker without the arena's lock: a place for each size in each
/// of a few shards. Threads that load small files would otherwise spend their time waiting for that lock.
///
/// What lies here still counts as in use in the arena's books.
final class BlockCache: Sendable {
    private static let shards = 8

    // Allocated once, freed with the cache; the places themselves are atomic.
    private nonisolated(unsafe) let places: UnsafeMutablePointer<Atomic<UInt>>
    private let sizes: Int

    /// A place is a page number above a slab number; 0: empty.
    private static let slabBits = 28

    init(sizes: Int) {
        // Shards lie on cache lines of their own.
        self.sizes = (sizes + 7) / 8 * 8
        let count = Self.shards * self.sizes
        places = UnsafeMutableRawPointer.allocate(byteCount: count * MemoryLayout<Atomic<UInt>>.stride, alignment: 64)
            .bindMemory(to: Atomic<UInt>.self, capacity: count)
        for place in 0..<count { (places + place).initialize(to: Atomic(0)) }
    }

    deinit { places.deallocate() }

    private func place(_ size: Int) -> UnsafeMutablePointer<Atomic<UInt>> {
        places + RingThread.currentShard(of: Self.shards) * sizes + size
    }

    func take(_ size: Int) -> (address: UnsafeMutableRawPointer, slab: Int)? {
        // Looking first spares the exchange where there is nothing.
        guard place(size).pointee.load(ordering: .relaxed) != 0 else { return nil }
        return Self.unpack(place(size).pointee.exchange(0, ordering: .sequentiallyConsistent))
    }

    /// Puts a block into its place; false if that is taken.
    func put(_ address: UnsafeMutableRawPointer, slab: Int, size: Int) -> Bool {
        guard slab < 1 << Self.slabBits else { return false }
        let packed = ((UInt(bitPattern: address) >> 12) << UInt(Self.slabBits)) | UInt(slab)
        return place(size).pointee.compareExchange(expected: 0, desired: packed, ordering: .sequentiallyConsistent)
            .exchanged
    }

    /// Takes everything out.
    func drain(_ body: (_ address: UnsafeMutableRawPointer, _ slab: Int, _ size: Int) -> Void) {
        for place in 0..<Self.shards * sizes {
            guard let block = Self.unpack(places[place].exchange(0, ordering: .sequentiallyConsistent)) else {
                continue
            }
            body(block.address, block.slab, place % sizes)
        }
    }

    /// Bytes that lie here, at a moment.
    var byteCount: Int {
        (0..<Self.shards * sizes).reduce(0) { sum, place in
            places[place].load(ordering: .relaxed) == 0 ? sum : sum + (SlabArena.smallestBlock << (place % sizes))
        }
    }

    private static func unpack(_ packed: UInt) -> (address: UnsafeMutableRawPointer, slab: Int)? {
        guard packed != 0 else { return nil }
        let address = UnsafeMutableRawPointer(bitPattern: (packed >> UInt(slabBits)) << 12)!
        return (address, Int(packed & ((1 << UInt(slabBits)) - 1)))
    }
}

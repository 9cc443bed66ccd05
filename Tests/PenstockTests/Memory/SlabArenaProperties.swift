import TestSupport
import Testing

@testable import Penstock

/// Blocks never overlap, never exceed the limit, and every size can be had again once all is returned.
@Suite struct SlabArenaProperties {
    private static let sizes = [
        0, 1, 100, 4096, 4097, 8192, 60_000, 65_536, 300_000, 1 << 20, 2 << 20, (2 << 20) + 1, 5 << 20,
    ]

    @Test func blocksAreAlignedLargeEnoughAndApart() {
        forEachSeed("arena", count: 40) { random in
            let limit = (2 << 20) * (1 + random.below(6)) + random.below(1 << 20)
            let arena = SlabArena(limit: limit)
            var blocks: [(block: SlabArena.Block, mark: UInt64)] = []
            for step in 0..<400 as Range<UInt64> {
                if random.chance(55) {
                    let size = Self.sizes.randomElement(using: &random)!
                    guard let block = arena.take(size) else { continue }
                    #expect(block.capacity >= size && UInt(bitPattern: block.address) % 4096 == 0)
                    let start = UInt(bitPattern: block.address)
                    let overlaps = blocks.contains {
                        let other = UInt(bitPattern: $0.block.address)
                        return start < other + UInt($0.block.capacity) && other < start + UInt(block.capacity)
                    }
                    #expect(!overlaps, "seed \(random.seed): two hold the same memory")
                    FilePattern(step).fill(.init(start: block.address, count: block.capacity), at: 0)
                    blocks.append((block, step))
                } else if !blocks.isEmpty {
                    let (block, mark) = blocks.remove(at: random.below(blocks.count))
                    let wrong = FilePattern(mark).mismatch(.init(start: block.address, count: block.capacity), at: 0)
                    #expect(wrong == nil, "seed \(random.seed): somebody else wrote into the block")
                    arena.release(block)
                }
                let usage = arena.usage
                #expect(usage.mapped <= limit && usage.used <= usage.mapped, "seed \(random.seed): \(usage)")
                #expect(usage.used == blocks.reduce(0) { $0 + $1.block.capacity }, "seed \(random.seed)")
            }
            for (block, _) in blocks { arena.release(block) }
            #expect(arena.usage.used == 0)
            for size in Self.sizes where arena.canEverHold(size) {
                let block = arena.take(size)
                #expect(
                    block != nil, "seed \(random.seed): \(size) bytes of \(limit) cannot be had with nothing in use")
                if let block { arena.release(block) }
            }
        }
    }

    @Test func largeBlockCanBeHadAfterManySmallOnesHaveBeenReturned() {
        let arena = SlabArena(limit: 4 << 20)
        let blocks = (0..<1024).map { _ in arena.take(4096)! }
        #expect(arena.take(4096) == nil)
        blocks.forEach(arena.release)
        #expect(arena.canEverHold(4 << 20))
        #expect(arena.take(4 << 20) != nil, "the limit is free, but the memory is not to be had")
    }

    @Test func everySmallSizeUsesTheMemoryThatAnotherHasReturned() {
        let arena = SlabArena(limit: 2 << 20)
        for size in [4096, 2 << 20, 65_536, 4096, 1 << 20] {
            let block = arena.take(size)
            #expect(block != nil, "\(size)")
            if let block { arena.release(block) }
        }
    }

    @Test func sizesThatNeverFitAreKnown() {
        let arena = SlabArena(limit: 3 << 20)
        #expect(arena.canEverHold(0) && arena.canEverHold(2 << 20))
        for size in [(2 << 20) + 1, 3 << 20, 1 << 40, Int.max - 1, Int.max] {
            #expect(!arena.canEverHold(size), "\(size)")
        }
    }
}

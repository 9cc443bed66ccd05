import TestSupport
import Testing

@testable import PenstockVulkan

/// Resources share blocks of their kind, and blocks go when nobody needs them.
@Suite struct RangeBlocks {
    @Test func smallResourcesShareABlock() {
        var list = BlockList(bufferImageGranularity: 1)
        #expect(list.small(1 << 20) == .create(.init(block: 0, range: 0..<1 << 20), byteCount: 64 << 20))
        #expect(list.small(100) == .use(.init(block: 0, range: 1 << 20..<(1 << 20) + 100)))
        #expect(list.small(16 << 20).place.block == 0)
        #expect(list.reservedBytes(ofMemoryType: 0) == 64 << 20)
    }

    @Test func largeOnesAndThoseThatTheDriverWantsAloneHaveTheirOwn() {
        var list = BlockList(bufferImageGranularity: 1)
        let size = (16 << 20) + 1
        #expect(list.small(size) == .create(.init(block: 0, range: 0..<size), byteCount: size))
        let alone = list.allocate(64, alignment: 64, memoryType: 0, tiling: .optimal, dedicated: true)
        #expect(alone == .create(.init(block: 1, range: 0..<64), byteCount: 64))
        // Not even one that is kept: it fits nobody else.
        #expect(list.free(alone.place) == 1)
        #expect(list.free(.init(block: 0, range: 0..<size)) == 0)
    }

    @Test func memoryTypesAndTilingsThatConflictStayApart() {
        var list = BlockList(bufferImageGranularity: 1024)
        let buffer = list.small(100)
        #expect(list.allocate(100, alignment: 1, memoryType: 0, tiling: .optimal).isCreation)
        #expect(list.allocate(100, alignment: 1, memoryType: 1, tiling: .linear).isCreation)
        #expect(list.small(100).place.block == buffer.place.block)

        var indifferent = BlockList(bufferImageGranularity: 1)
        _ = indifferent.small(100)
        #expect(!indifferent.allocate(100, alignment: 1, memoryType: 0, tiling: .optimal).isCreation)
    }

    @Test func oneEmptyBlockIsKept() {
        var list = BlockList(bufferImageGranularity: 1, blockSize: 1000, dedicatedAbove: 1000)
        let places = (0..<3).map { _ in list.small(1000).place }
        #expect(list.free(places[1]) == nil)
        #expect(list.free(places[0]) == 0)
        #expect(list.free(places[2]) == 2)
        #expect(list.blockNumbers == [1])
        #expect(list.small(10) == .use(.init(block: 1, range: 0..<10)))
        #expect(list.free(.init(block: 1, range: 0..<10)) == nil)
        #expect(list.releaseEmptyBlocks() == [1] && list.blockNumbers.isEmpty)
    }

    @Test func refusedBlockIsTriedAgainAtTheResourcesOwnSize() throws {
        var list = BlockList(bufferImageGranularity: 1)
        let first = list.small(5000)
        let retry = list.allocationFailed(first.place)
        let second = try #require(retry)
        #expect(second == .create(.init(block: 0, range: 0..<5000), byteCount: 5000))
        #expect(list.allocationFailed(second.place) == nil)
        #expect(list.blockNumbers.isEmpty && list.reservedBytes(ofMemoryType: 0) == 0)
    }

    @Test func randomRequestsNeverShareAByte() {
        forEachSeed("blocks", count: 200) { random in
            var list = BlockList(
                bufferImageGranularity: random.chance(50) ? 1 : 64, blockSize: 1000, dedicatedAbove: 300)
            var sizes: [Int: Int] = [:]
            var given: [BlockList.Place] = []
            for _ in 0..<300 {
                if random.chance(55) {
                    let size = 1 + random.below(random.chance(10) ? 3000 : 250)
                    let alignment = 1 << random.below(8)
                    var action: BlockList.Action? = list.allocate(
                        size, alignment: alignment, memoryType: random.below(3),
                        tiling: random.chance(50) ? .linear : .optimal, dedicated: random.chance(5))
                    while case .create(let place, _) = action, random.chance(10) {
                        action = list.allocationFailed(place)
                    }
                    guard let action else { continue }
                    if case .create(let place, let byteCount) = action {
                        #expect(sizes.updateValue(byteCount, forKey: place.block) == nil, "seed \(random.seed)")
                    }
                    let place = action.place
                    #expect(place.range.count == size && place.range.lowerBound % alignment == 0)
                    #expect(place.range.upperBound <= sizes[place.block] ?? 0, "seed \(random.seed)")
                    let isShared = given.contains { $0.block == place.block && $0.range.overlaps(place.range) }
                    #expect(!isShared, "seed \(random.seed): \(place)")
                    given.append(place)
                } else if !given.isEmpty {
                    let place = given.remove(at: random.below(given.count))
                    if let released = list.free(place) {
                        #expect(released == place.block && !given.contains { $0.block == released })
                        sizes[released] = nil
                    }
                }
                #expect(list.blockNumbers == sizes.keys.sorted(), "seed \(random.seed)")
                let reserved = (0..<3).reduce(0) { $0 + list.reservedBytes(ofMemoryType: $1) }
                #expect(reserved == sizes.values.reduce(0, +))
                // Three memory types with two tilings each.
                #expect(sizes.count - Set(given.map(\.block)).count <= 6, "seed \(random.seed): too many empty blocks")
            }
        }
    }
}

extension BlockList {
    fileprivate mutating func small(_ size: Int) -> Action {
        allocate(size, alignment: 1, memoryType: 0, tiling: .linear)
    }
}

extension BlockList.Action {
    fileprivate var place: BlockList.Place {
        switch self {
        case .use(let place), .create(let place, _): place
        }
    }

    fileprivate var isCreation: Bool { if case .create = self { true } else { false } }
}

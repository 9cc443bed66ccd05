import TestSupport
import Testing

@testable import Penstock

/// Tokens travel through the kernel: an old one must find nothing.
@Suite struct PieceSlots {
    @Test func tokenOfAFreedSlotFindsNothing() {
        var table = PieceTable(capacity: 2)
        let slot = table.take(.piece)
        let token = table.token(of: slot)
        #expect(table.find(token) == slot)
        table.free(slot)
        #expect(table.find(token) == nil)
        #expect(table.take(.piece) == slot)
        #expect(table.find(token) == nil)
    }

    @Test func foreignTokensFindNothing() {
        var table = PieceTable(capacity: 2)
        _ = table.take(.control)
        for token: UInt64 in [0, 1, 2, .max, 1 << 63, UInt64(1 << 32) | 2, UInt64(1 << 32) | 0xFFFF_FFFF] {
            #expect(table.find(token) == nil, "\(token)")
        }
    }

    @Test func slotsAreGivenOnceAndAllComeBack() {
        forEachSeed("slots", count: 50) { random in
            var table = PieceTable(capacity: 1 + random.below(64))
            var taken: [Int: UInt64] = [:]
            for _ in 0..<1000 {
                if random.chance(50), table.hasRoom {
                    let slot = table.take(.piece)
                    #expect(taken[slot] == nil, "seed \(random.seed)")
                    taken[slot] = table.token(of: slot)
                } else if let slot = taken.keys.randomElement(using: &random) {
                    #expect(table.find(taken[slot]!) == slot, "seed \(random.seed)")
                    table.free(slot)
                    taken[slot] = nil
                }
                #expect(table.inUse == taken.count && table.hasRoom == (taken.count < table.capacity))
            }
        }
    }

    @Test func tokensLeaveTheTopBitToTheDriver() {
        var table = PieceTable(capacity: 1)
        for _ in 0..<100 {
            let slot = table.take(.piece)
            #expect(table.token(of: slot) >> 63 == 0)
            table.free(slot)
        }
    }
}

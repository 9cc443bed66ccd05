import TestSupport
import Testing

@testable import Penstock

/// The pieces of a request cover it exactly, and each is what direct I/O wants.
@Suite struct PieceTiling {
    struct Request {
        var offset: UInt64
        var address: UInt
        var length: Int
        var limit: Int
        var alignment: DirectAlignment

        init(_ random: inout SeededRandom) {
            let unit = 1 << (9 + random.below(8))  // 512 bytes through 64 KiB
            alignment = DirectAlignment(offset: unit, memory: 1 << random.below(13))
            // Half of what is asked for is aligned, as most callers are.
            offset = UInt64(random.below(1 << 40))
            if random.chance(50) { offset = offset / UInt64(unit) * UInt64(unit) }
            address = UInt(random.below(1 << 46)) + 4096
            if random.chance(50) { address = address / 4096 * 4096 }
            length = 1 + random.below(random.chance(50) ? 4 * unit : 4 << 20)
            limit = 4096 << random.below(9)
        }

        /// The pieces' plans, each checked, in order.
        func pieces(_ next: (UInt64, UInt, Int) -> PiecePlan) -> (plans: [PiecePlan], complaint: String?) {
            var plans: [PiecePlan] = []
            var done = 0
            while done < length {
                let (position, remaining) = (offset + UInt64(done), length - done)
                let plan = next(position, address + UInt(done), remaining)
                plans.append(plan)
                guard plan.count > 0 else { return (plans, "an empty piece") }
                guard plan.count <= remaining else { return (plans, "more than is left") }
                if let complaint = complaint(plan, position, address + UInt(done)) { return (plans, complaint) }
                done += plan.count
                if plans.count > 1 << 20 { return (plans, "no end") }
            }
            return (plans, nil)
        }

        private func complaint(_ plan: PiecePlan, _ position: UInt64, _ address: UInt) -> String? {
            let unit = UInt64(alignment.offset)
            // No piece may be larger than the scheduler was told it would be, but for a unit that cannot be split.
            let most = max(limit, alignment.offset)
            if plan.count > most { return "a piece of \(plan.count) bytes; the scheduler counted on \(most)" }
            switch plan.route {
            case .buffered:
                if plan.offset != position || plan.length != plan.count { return "buffered, but not what was asked" }
            case .direct:
                if plan.offset != position || plan.length != plan.count { return "direct, but not what was asked" }
                if plan.offset % unit != 0 || plan.length % Int(unit) != 0 { return "direct, at unaligned bytes" }
                if address % UInt(alignment.memory) != 0 { return "direct, into unaligned memory" }
            case .landed(let skip):
                if plan.offset + UInt64(skip) != position { return "landed, from the wrong place" }
                if plan.offset % unit != 0 || plan.length % Int(unit) != 0 { return "landed, at unaligned bytes" }
                if skip + plan.count > plan.length { return "landed, but too short" }
            case .bounced(let skip):
                if plan.offset + UInt64(skip) != position { return "bounced, from the wrong place" }
                if plan.offset % unit != 0 || plan.length % Int(unit) != 0 { return "bounced, at unaligned bytes" }
                if plan.length > BounceStore.blockSize { return "more than a bounce block holds" }
                if skip + plan.count > plan.length { return "bounced, but too short" }
            }
            return nil
        }
    }

    @Test func stagedReadsTileTheRequestAndObeyTheAlignment() {
        forEachSeed("staged reads", count: 5000) { random in
            let request = Request(&random)
            let (plans, complaint) = request.pieces { position, _, remaining in
                let limit = max(request.limit, request.alignment.offset)
                return .landed(
                    at: position, count: min(remaining, limit), limit: limit, alignment: request.alignment, landing: 1)
                    ?? .buffered(at: position, remaining: remaining, limit: limit)
            }
            #expect(complaint == nil, "seed \(random.seed): \(request), \(plans.last!)")
        }
    }

    @Test func directReadsTileTheRequestAndObeyTheAlignment() {
        forEachSeed("direct reads", count: 5000) { random in
            let request = Request(&random)
            let (plans, complaint) = request.pieces { position, address, remaining in
                .directRead(
                    at: position, address: address, remaining: remaining, limit: request.limit,
                    alignment: request.alignment, bounce: BounceStore.blockSize)
            }
            #expect(complaint == nil, "seed \(random.seed): \(request), \(plans.last!)")
        }
    }

    @Test func alignedWritesGoDirectlyAndTileTheRequest() {
        let alignment = DirectAlignment(offset: 512, memory: 512)
        forEachSeed("direct writes", count: 1000) { random in
            let start = UInt64(512 * Int.random(in: 0...1000, using: &random))
            let length = 512 * Int.random(in: 1...5000, using: &random)
            let limit = 4096 * Int.random(in: 1...64, using: &random)
            var done = 0
            while done < length {
                let plan = PiecePlan.directWrite(
                    at: start + UInt64(done), remaining: length - done, limit: limit, alignment: alignment)
                #expect(plan.route == .direct && plan.offset == start + UInt64(done), "seed \(random.seed)")
                #expect(
                    plan.length == plan.count && plan.count <= limit && plan.count % 512 == 0, "seed \(random.seed)")
                done += plan.count
            }
            #expect(done == length, "seed \(random.seed)")
        }
    }

    @Test func alignmentHoldsOnlyForTheWholeTransfer() {
        let alignment = DirectAlignment(offset: 4096, memory: 512)
        #expect(alignment.holds(offset: 8192, address: 1024, length: 12288))
        #expect(!alignment.holds(offset: 8193, address: 1024, length: 12288))
        #expect(!alignment.holds(offset: 8192, address: 1000, length: 12288))
        #expect(!alignment.holds(offset: 8192, address: 1024, length: 12289))
    }

    @Test func alignedBulkReadsBounceNothing() {
        let alignment = DirectAlignment(offset: 4096, memory: 512)
        var done = 0
        while done < 8 << 20 {
            let plan = PiecePlan.directRead(
                at: UInt64(done), address: (1 << 30) + UInt(done), remaining: (8 << 20) - done, limit: 1 << 20,
                alignment: alignment, bounce: BounceStore.blockSize)
            #expect(plan == PiecePlan(route: .direct, offset: UInt64(done), length: 1 << 20, count: 1 << 20))
            done += plan.count
        }
    }

    @Test func onlyTheUnalignedEndsOfAReadBounce() {
        let request = PieceTiling.odd
        var routes: [PiecePlan.Route] = []
        var done = 0
        while done < request.length {
            let plan = PiecePlan.directRead(
                at: request.offset + UInt64(done), address: request.address + UInt(done),
                remaining: request.length - done, limit: 1 << 20, alignment: request.alignment,
                bounce: BounceStore.blockSize)
            routes.append(plan.route)
            done += plan.count
        }
        #expect(routes == [.bounced(skip: 100), .direct, .direct, .bounced(skip: 0)])
    }

    /// From byte 100, into memory that is aligned where the file is.
    private static let odd: (offset: UInt64, address: UInt, length: Int, alignment: DirectAlignment) =
        (100, (1 << 30) + 100, 3996 + (2 << 20) + 17, DirectAlignment(offset: 4096, memory: 512))
}

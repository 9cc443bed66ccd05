import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Penstock

/// Whoever asks for more memory than there is waits in line, and may leave it.
@Suite struct SlabArenaWaiters {
    /// What the waiters were given, in the order in which it happened.
    private final class Served: Sendable {
        private let list = Locked<[(Int, SlabArena.Block?)]>([])
        func take(_ number: Int) -> @Sendable (SlabArena.Grant) -> Void {
            { grant in self.list.withLock { $0.append((number, grant.block)) } }
        }
        var numbers: [Int] { list.withLock { $0.map(\.0) } }
        var blocks: [SlabArena.Block?] { list.withLock { $0.map(\.1) } }
    }

    private let arena = SlabArena(limit: 2 << 20)

    @Test func waitersAreServedInOrderAndNobodyOvertakes() {
        let all = arena.take(2 << 20)!
        let served = Served()
        for number in 0..<4 { #expect(arena.whenAvailable(1 << 20, served.take(number)) != nil) }
        #expect(arena.take(4096) == nil)
        arena.release(all)
        #expect(served.numbers == [0, 1])
        #expect(arena.take(4096) == nil, "two still wait")
        arena.release(served.blocks[0]!)
        #expect(served.numbers == [0, 1, 2])
    }

    @Test func smallRequestBehindALargeOneWaitsForIt() {
        let half = arena.take(1 << 20)!
        let served = Served()
        _ = arena.whenAvailable(2 << 20, served.take(0))
        _ = arena.whenAvailable(4096, served.take(1))
        #expect(served.numbers.isEmpty)
        arena.release(half)
        #expect(served.numbers == [0])
        arena.release(served.blocks[0]!)
        #expect(served.numbers == [0, 1])
    }

    @Test func theReserveIsForThoseWhoAskForIt() {
        arena.keepReserve()
        let all = arena.take(2 << 20)!
        #expect(arena.take(4096) == nil, "the limit stands")
        let reserve = arena.takeReserve()!
        #expect(reserve.capacity == 2 << 20 && reserve.address != all.address)
        #expect(arena.takeReserve() == nil)
        let served = Served()
        _ = arena.whenAvailable(2 << 20, served.take(0))
        _ = arena.whenAvailable(4096, orReserve: true, served.take(1))
        arena.release(reserve)
        #expect(served.numbers == [1], "who waits in front wants other memory")
        #expect(arena.whenAvailable(4096, orReserve: true, served.take(2)) != nil)
        arena.release(all)
        #expect(served.numbers == [1, 0])
        arena.release(served.blocks[0]!)
        #expect(served.numbers == [1, 0, 2])
        for block in served.blocks.dropFirst() { arena.release(block!) }
        #expect(arena.usage.used == 0)
    }

    @Test func withdrawnWaiterIsToldAndLetsTheNextOneBy() {
        let half = arena.take(1 << 20)!
        let served = Served()
        let first = arena.whenAvailable(2 << 20, served.take(0))!
        _ = arena.whenAvailable(1 << 20, served.take(1))
        arena.withdraw(first)
        #expect(served.numbers == [0, 1])
        #expect(served.blocks[0] == nil && served.blocks[1] != nil)
        arena.withdraw(first)
        #expect(served.numbers == [0, 1], "withdrawn twice, told once")
        arena.release(half)
    }

    @Test func whoWaitsForMemoryThatThereIsNotIsTold() {
        // Two slabs, and then no more.
        let left = Atomic<Int>(2)
        let source = SlabSource(
            map: { size in
                let has = left.wrappingSubtract(1, ordering: .relaxed).newValue >= 0
                return has ? SlabSource.mappings.map(size) : nil
            }, unmap: SlabSource.mappings.unmap)
        let told = Locked<[String]>([])
        func tell(_ name: String) -> @Sendable (SlabArena.Grant) -> Void {
            { grant in
                let what =
                    switch grant {
                    case .block: "block"
                    case .withdrawn: "withdrawn"
                    case .outOfMemory: "out of memory"
                    }
                told.withLock { $0.append("\(name): \(what)") }
            }
        }
        let arena = SlabArena(limit: 64 << 20, source: source)
        let (first, second) = (arena.take(2 << 20)!, arena.take(2 << 20)!)
        #expect(arena.take(2 << 20) == nil)
        // As long as some is out, it may come back.
        _ = arena.whenAvailable(2 << 20, tell("small"))
        _ = arena.whenAvailable(4 << 20, tell("large"))
        arena.release(first)
        #expect(told.withLock { $0 } == ["small: block"])
        arena.release(second)
        #expect(told.withLock { $0 } == ["small: block"])
        arena.release(first)
        #expect(told.withLock { $0 } == ["small: block", "large: out of memory"])
        #expect(arena.whenAvailable(4 << 20, tell("later")) == nil)
        #expect(told.withLock { $0.last } == "later: out of memory")
        // What there is can be had.
        #expect(arena.take(2 << 20) != nil)
    }

    @Test func roomIsGivenAtOnce() {
        let served = Served()
        #expect(arena.whenAvailable(4096, served.take(0)) == nil)
        #expect(served.blocks.first != nil)
    }

    @Test func cancellationBeforeTheWaitHasBegunCounts() {
        let all = arena.take(2 << 20)!
        let (served, wait) = (Served(), MemoryWait())
        wait.cancel(in: arena)
        wait.begin(in: arena, 4096, served.take(0))
        #expect(served.numbers == [0] && served.blocks[0] == nil)
        arena.release(all)
        #expect(arena.usage.used == 0)
    }

    @Test func manyThreadsTakeAndReturnWithoutLosingAByte() async {
        let arena = arena
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    var random = SeededRandom(UInt64(task))
                    for _ in 0..<300 {
                        let size = 1 + random.below(1 << 20)
                        let block = await withUnsafeContinuation { continuation in
                            _ = arena.whenAvailable(size) { continuation.resume(returning: $0.block) }
                        }
                        FilePattern(UInt64(task)).fill(.init(start: block!.address, count: 64), at: 0)
                        await Task.yield()
                        let wrong = FilePattern(UInt64(task)).mismatch(.init(start: block!.address, count: 64), at: 0)
                        #expect(wrong == nil)
                        arena.release(block!)
                    }
                }
            }
        }
        #expect(arena.usage.used == 0 && arena.usage.mapped <= 2 << 20)
    }

    /// A block that comes back just as two begin to wait must reach the first of them, whoever finds it.
    @Test func blockThatComesBackWhileTwoBeginToWaitIsNotOverlooked() throws {
        /// How far the two threads are.
        final class Progress: Sendable {
            let begun = Atomic(0)
            let taken = Atomic(0)
            let released = Atomic(0)
            let served = Atomic(0)
        }
        let (arena, progress, rounds) = (arena, Progress(), 20_000)
        let releaser = try RingThread(name: "releaser") {
            for round in 1...rounds {
                while progress.begun.load(ordering: .acquiring) < round { sched_yield() }
                let block = arena.take(2 << 20)!
                progress.taken.store(round, ordering: .releasing)
                arena.release(block)
                progress.released.store(round, ordering: .releasing)
            }
        }
        var overlooked = 0
        for round in 1...rounds {
            progress.begun.store(round, ordering: .releasing)
            while progress.taken.load(ordering: .acquiring) < round { sched_yield() }
            for _ in 0..<2 {
                _ = arena.whenAvailable(2 << 20) { grant in
                    guard let block = grant.block else { return }
                    progress.served.add(1, ordering: .relaxed)
                    arena.release(block)
                }
            }
            while progress.released.load(ordering: .acquiring) < round { sched_yield() }
            overlooked += 2 * round - progress.served.load(ordering: .relaxed) > 0 ? 1 : 0
            arena.withdrawAll()
            progress.served.store(2 * round, ordering: .relaxed)
        }
        releaser.join()
        #expect(overlooked == 0)
    }
}

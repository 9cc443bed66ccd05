import CVulkan
import FakeVulkan
import Penstock
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// The device ends things late, in any grouping, and says so later still.
    @Suite(.timeLimit(.minutes(5))) struct CompletionOnFake {
        private let scratch = Scratch()

        /// Staging memory that the device may still read must not be used again: each submission would then copy bytes of a
        /// later request. The fake copies when it is told to, long after the host could have gone on.
        @Test func stagingMemoryIsUsedAgainOnlyAfterTheDeviceIsDone() async throws {
            let (count, size) = (96, 200_000)
            let path = scratch.make("in", count: count * size)
            var random = seededOnce("stagingMemoryIsUsedAgainOnlyAfterTheDeviceIsDone")
            try await FakeMachine.run(.with { $0.execution = .manual }, queue: { $0.stagingBytes = 4 << 20 }) {
                machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: count * size)
                let ends = Log<Int>()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<count {
                        group.addTask {
                            let range = index * size..<(index + 1) * size
                            let moved = try await queue.read(
                                from: file, at: UInt64(range.lowerBound), into: buffer[range])
                            #expect(moved == size)
                            ends.add(index)
                        }
                    }
                    try await machine.reach("the end of every read") {
                        // Several submissions in flight; the copies happen, and the semaphores come later, together.
                        for _ in 0...random.below(3) { machine.fake.step(holdingSignals: random.chance(50)) }
                        if random.chance(50) { machine.fake.releaseSignals() }
                        let inUse = try await machine.stagingInUse
                        #expect(inUse <= 4 << 20)
                        return ends.all.count == count
                    }
                    try await group.waitForAll()
                }
                #expect(Set(ends.all).count == count)
                let isThere = Salted().matches(machine.contents(buffer))
                #expect(isThere)
            }
        }

        /// Nobody is told before the semaphore says so, though the copies have long happened.
        @Test func requestEndsWithItsSemaphoreAndNotBefore() async throws {
            let path = scratch.make("in", count: 10_000)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 10_000)
                let ends = Log<Int>()
                let task = Task {
                    ends.add(try await queue.read(from: file, into: buffer[...]))
                }
                try await machine.submissions(atLeast: 1)
                #expect(machine.fake.step(holdingSignals: true))
                try await machine.turn()
                #expect(ends.all.isEmpty)
                machine.fake.releaseSignals()
                try await task.value
                #expect(ends.all == [10_000])
            }
        }

        @Test func pollingApplicationIsToldWhenItAsks() async throws {
            let path = scratch.make("in", count: 10_000)
            try await FakeMachine.run(
                .with { $0.execution = .manual }, adopting: { adoption, _ in adoption.pollsCompletions = true }
            ) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 10_000)
                let waits = machine.fake.count(of: "vkWaitSemaphores")
                for _ in 0..<3 {
                    let ends = Log<Int>()
                    let task = Task { ends.add(try await queue.read(from: file, into: buffer[...])) }
                    try await machine.submissions(atLeast: 1)
                    machine.fake.runAll()
                    try await machine.reach("the end of the read") {
                        queue.poll()
                        return !ends.all.isEmpty
                    }
                    try await task.value
                }
                #expect(machine.fake.count(of: "vkWaitSemaphores") == waits, "nobody sleeps for the device")
            }
        }

        /// Calls that come later may hold all staging memory, and wait behind a barrier with it: what is in front of the barrier
        /// needs none of theirs.
        @Test(arguments: [StorageQueue.Configuration.Ordering.concurrent, .serial])
        func whatIsInFrontOfABarrierNeedsNobodysMemory(_ ordering: StorageQueue.Configuration.Ordering) async throws {
            let size = 3 << 20
            let path = scratch.make("in", count: size)
            try await FakeMachine.run(queue: {
                $0.ordering = ordering
                $0.inlineLimit = 0
            }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let output = try await queue.open(scratch.file("out"), [.readWrite, .create])
                let buffer = try machine.device.makeBuffer(byteCount: size)
                let staging = try await queue.core.withSink(of: machine.device) { $0.staging }
                var held: [SlabArena.Block] = []
                while let block = staging.take(1 << 20) { held.append(block) }
                #expect(!held.isEmpty)
                try await queue.read(from: file, into: buffer[...])
                try await queue.write(buffer[...], to: output)
                try await queue.barrier()
                let isThere = Salted().matches(machine.contents(buffer))
                #expect(isThere)
                for block in held { staging.release(block) }
                try await output.close()
            }
            let isWritten = Salted().matches(scratch.contents("out"))
            #expect(isWritten)
        }

        /// Far more than there is staging memory for, in both directions and as images, all at once.
        @Test func everyRequestEndsWhenStagingIsUsedUp() async throws {
            let size = 700_000
            let path = scratch.make("in", count: 16 * size)
            try await FakeMachine.run(queue: { $0.stagingBytes = 4 << 20 }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let output = try await queue.open(scratch.file("out"), [.readWrite, .create])
                let buffer = try machine.device.makeBuffer(byteCount: 16 * size)
                let source = try machine.device.makeBuffer(byteCount: 16 * size)
                try await queue.read(from: file, into: source[...])
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 512, height: 341, arrayLayers: 16),
                    usage: VK_IMAGE_USAGE_SAMPLED_BIT.rawValue)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<16 {
                        let range = index * size..<(index + 1) * size
                        group.addTask {
                            try await queue.read(from: file, at: UInt64(range.lowerBound), into: buffer[range])
                        }
                        group.addTask { try await queue.write(source[range], to: output, at: UInt64(range.lowerBound)) }
                        group.addTask {
                            try await queue.read(
                                from: file, at: UInt64(range.lowerBound), into: image.level(0, layer: index))
                        }
                        group.addTask {
                            let host = try await queue.allocate(byteCount: size)
                            try await queue.write(source[range], to: host[...])
                            #expect(host.withUnsafeBytes { Salted().matches($0, at: range.lowerBound) })
                        }
                    }
                    try await group.waitForAll()
                }
                let isThere = Salted().matches(machine.contents(buffer))
                #expect(isThere)
                for layer in 0..<16 {
                    let isLayerThere = Salted().matches(
                        machine.fake.contents(of: image.handle, mip: 0, layer: layer), at: layer * size)
                    #expect(isLayerThere)
                }
                #expect(try await machine.stagingInUse == 0)
                try await output.close()
            }
            let isWritten = Salted().matches(scratch.contents("out"))
            #expect(isWritten)
        }
    }
}

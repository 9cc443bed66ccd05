import CVulkan
import FakeVulkan
import Penstock
import PenstockTesting
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Semaphores of the application's: nothing waits that need not, and nobody is told what is not so.
    @Suite(.timeLimit(.minutes(5))) struct SynchronizationOnFake {
        private let scratch = Scratch()

        /// - Parameter size: In one piece, and in several.
        @Test(arguments: [10_000, 3_000_000])
        func heldRequestIsSubmittedOnlyOnceItsValueIsReached(_ size: Int) async throws {
            let path = scratch.make("in", count: size)
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try await machine.buffer(size, mark: 0x22)
                let other = try machine.device.makeBuffer(byteCount: size)
                let gate = machine.semaphore()
                let synchronization = GPUSynchronization(after: [GPUSemaphorePoint(gate, 5)])
                let ends = Log<Int>()
                let task = Task {
                    ends.add(try await queue.read(from: file, into: buffer[...], synchronization: synchronization))
                }
                try await machine.reach("held") { try await machine.sinkIsBusy }
                // Others pass.
                #expect(try await queue.read(from: file, into: other[...]) == size)
                let isThere = Salted().matches(machine.contents(other))
                #expect(isThere)
                machine.signal(gate, 4)
                try await machine.turn()
                #expect(ends.all.isEmpty)
                #expect(isFilled(machine.contents(buffer), with: 0x22))
                machine.signal(gate, 5)
                try await task.value
                #expect(ends.all == [size])
                let isThereToo = Salted().matches(machine.contents(buffer))
                #expect(isThereToo)
            }
        }

        @Test func manyHeldRequestsGoInTheOrderInWhichTheirValuesAreReached() async throws {
            let path = scratch.make("in", count: 64 << 10)
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 64 << 10)
                let gates = (0..<16).map { _ in machine.semaphore() }
                let ends = Log<Int>()
                let points = gates.map { GPUSemaphorePoint($0, 1) }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<16 {
                        let point = points[index]
                        group.addTask {
                            try await queue.read(
                                from: file, at: UInt64(index) << 12, into: buffer[index << 12..<(index + 1) << 12],
                                synchronization: GPUSynchronization(after: [point]))
                            ends.add(index)
                        }
                    }
                    var order = Array(0..<16)
                    var random = seededOnce("manyHeldRequests")
                    order.shuffle(using: &random)
                    for (count, index) in order.enumerated() {
                        machine.signal(gates[index], 1)
                        try await machine.reach("\(count)") { ends.all.count == count + 1 }
                    }
                    try await group.waitForAll()
                    #expect(ends.all == order)
                }
            }
        }

        /// Of a request in several pieces, some wait for their semaphore, and the rest for the disk.
        @Test(arguments: [true, false], [true, false])
        func cancelledWhileHeldEndsWithoutItsSemaphore(_ isOnDisk: Bool, _ isImage: Bool) async throws {
            let disk = SimulatedDisk(seed: 1)
            disk["in"] = Salted().bytes(0..<4 << 20)
            try await FakeMachine.run(disk: disk) { machine in
                let queue = machine.queue
                let file = try await queue.open("in", caching: .buffered)
                let buffer = try await machine.buffer(4 << 20, mark: 0x33)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1024, height: 1024))
                let gate = machine.semaphore()
                let point = GPUSemaphorePoint(gate, 1)
                // All but the first piece stays on the disk for ever, or rather until it is cancelled.
                if isOnDisk {
                    var faults = SimulatedDisk.Faults()
                    faults.delay = .seconds(1) ... .seconds(1)
                    faults.cancellable = 1
                    disk.fail("in", in: 3 << 20..<4 << 20)
                    disk.faults = faults
                }
                let task = Task {
                    await expectError(.cancelled, .io) {
                        let synchronization = GPUSynchronization(after: [point])
                        if isImage {
                            return try await queue.read(
                                from: file, into: image.whole(to: .general), synchronization: synchronization)
                        }
                        return try await queue.read(from: file, into: buffer[...], synchronization: synchronization)
                    }
                }
                try await machine.reach("held") { try await machine.sinkIsBusy }
                task.cancel()
                _ = await task.value
                #expect(isFilled(machine.contents(buffer), with: 0x33))
                #expect(try await machine.stagingInUse == 0)
                #expect(machine.value(gate) == 0)
            }
        }

        /// However a call ends, nobody sleeps on its semaphores any more, or asks for their values.
        @Test func semaphoresMayBeDestroyedAsSoonAsTheirCallsHaveReturned() async throws {
            let path = scratch.make("in", count: 10_000)
            try await FakeMachine.run { machine in
                let (queue, rig) = (machine.queue, machine.rig)
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 10_000)
                for round in 0..<150 {
                    // Handles, for any thread.
                    nonisolated(unsafe) let (after, signal) = (rig.semaphore(), rig.semaphore())
                    let synchronization = GPUSynchronization(
                        after: [GPUSemaphorePoint(after, 1)], signal: [GPUSemaphorePoint(signal, 1)])
                    let deadline: ContinuousClock.Instant? = round % 3 == 0 ? .now + .milliseconds(2) : nil
                    let task = Task {
                        try await queue.read(
                            from: file, into: buffer[...], deadline: deadline, synchronization: synchronization)
                    }
                    // Asleep on it, or about to be.
                    if deadline == nil, round % 2 == 0 {
                        try await machine.reach("held") { try await machine.sinkIsBusy }
                    }
                    switch round % 3 {
                    case 0: await expectError(.deadlineExceeded) { try await task.value }
                    case 1:
                        task.cancel()
                        await expectError(.cancelled) { try await task.value }
                    default:
                        machine.signal(after, 1)
                        #expect(try await task.value == 10_000)
                    }
                    rig.vk.destroySemaphore(rig.device, after, nil)
                    rig.vk.destroySemaphore(rig.device, signal, nil)
                }
            }
        }

        @Test func deadlineOfAHeldRequestIsCalledThat() async throws {
            let path = scratch.make("in", count: 10_000)
            try await FakeMachine.run { machine in
                let file = try await machine.queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 10_000)
                let gate = machine.semaphore()
                let synchronization = GPUSynchronization(after: [GPUSemaphorePoint(gate, 1)])
                await expectError(.deadlineExceeded) {
                    try await machine.queue.read(
                        from: file, into: buffer[...], deadline: .now + .milliseconds(20),
                        synchronization: synchronization)
                }
            }
        }

        // MARK: Signals

        @Test func shutdownEndsWhatIsHeld() async throws {
            let path = scratch.make("in", count: 10_000)
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 10_000)
                let gate = machine.semaphore()
                let point = GPUSemaphorePoint(gate, 1)
                let ends = Log<String>()
                let read = Task {
                    await expectError(.queueClosed) {
                        try await queue.read(
                            from: file, into: buffer[...], synchronization: GPUSynchronization(after: [point]))
                    }
                    ends.add("read")
                }
                try await machine.reach("held") { try await machine.sinkIsBusy }
                await queue.shutdown()
                await read.value
                #expect(ends.all == ["read"])
                #expect(machine.value(gate) == 0)
            }
        }

        @Test(arguments: [10_000, 3_000_000])
        func signalComesOnceAndAfterEveryPiece(_ size: Int) async throws {
            let path = scratch.make("in", count: size)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: size)
                let signal = machine.semaphore()
                let point = GPUSemaphorePoint(signal, 7)
                let ends = Log<Int>()
                let task = Task {
                    ends.add(
                        try await queue.read(
                            from: file, into: buffer[...], synchronization: GPUSynchronization(signal: [point])))
                }
                try await machine.reach("the end of the read") {
                    if machine.fake.step(), machine.value(signal) == 7 {
                        let isThere = Salted().matches(machine.contents(buffer))
                        #expect(isThere, "all bytes are there when the semaphore says so")
                    }
                    return !ends.all.isEmpty
                }
                try await task.value
                #expect(machine.value(signal) == 7)
            }
        }

        @Test func failedRequestSignalsNobody() async throws {
            let disk = SimulatedDisk(seed: 1)
            disk["in"] = Salted().bytes(0..<4 << 20)
            disk.fail("in", in: 3 << 20..<4 << 20)
            try await FakeMachine.run(disk: disk) { machine in
                let file = try await machine.queue.open("in")
                let buffer = try machine.device.makeBuffer(byteCount: 4 << 20)
                let signal = machine.semaphore()
                let synchronization = GPUSynchronization(signal: [GPUSemaphorePoint(signal, 1)])
                await expectError(.io) {
                    try await machine.queue.read(from: file, into: buffer[...], synchronization: synchronization)
                }
                #expect(machine.value(signal) == 0)
                // And the value is still to be had.
                try await machine.queue.read(from: file, into: buffer[..<4096], synchronization: synchronization)
                #expect(machine.value(signal) == 1)
            }
        }

        /// Pieces that come after one that could not be submitted may be handed over before anybody has heard of that.
        @Test(arguments: 1...3, [4 << 20, 8 << 20])
        func requestWithAFailedSubmissionSignalsNobody(_ call: Int, _ size: Int) async throws {
            let disk = SimulatedDisk(seed: 1)
            disk["in"] = Salted().bytes(0..<size)
            try await FakeMachine.run(disk: disk) { machine in
                let queue = machine.queue
                let file = try await queue.open("in")
                let buffer = try machine.device.makeBuffer(byteCount: size)
                let signal = machine.semaphore()
                let synchronization = GPUSynchronization(signal: [GPUSemaphorePoint(signal, 1)])
                // What is left of the failure must not be found by the same request when it is performed again.
                let place = try buffer[...].synchronized(synchronization)
                machine.fake.fail("vkQueueSubmit2", at: call, with: VK_ERROR_OUT_OF_DEVICE_MEMORY)
                await expectError(.deviceMemory) {
                    try await queue.core.read(file, 0, into: place, RequestOptions(nil, 0, nil, nil))
                }
                #expect(machine.value(signal) == 0)
                _ = try await queue.core.read(file, 0, into: place, RequestOptions(nil, 0, nil, nil))
                #expect(machine.value(signal) == 1)
            }
        }

        /// The same where the pieces are filled one after another.
        @Test(arguments: 1...4)
        func copyWithAFailedSubmissionCanBePerformedAgain(_ call: Int) async throws {
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let host = try await queue.allocate(byteCount: 4 << 20)
                let buffer = try machine.device.makeBuffer(byteCount: 4 << 20)
                let signal = machine.semaphore()
                let place = try buffer[...].synchronized(GPUSynchronization(signal: [GPUSemaphorePoint(signal, 1)]))
                machine.fake.fail("vkQueueSubmit2", at: call, with: VK_ERROR_OUT_OF_DEVICE_MEMORY)
                await expectError(.deviceMemory) {
                    try await queue.core.copy(host.storage.block.address, into: place, RequestOptions(nil, 0, nil, nil))
                }
                #expect(machine.value(signal) == 0)
                _ = try await queue.core.copy(host.storage.block.address, into: place, RequestOptions(nil, 0, nil, nil))
                #expect(machine.value(signal) == 1)
                withExtendedLifetime(host) {}
            }
        }

        /// The largest value is the application's to use, and says nothing of the device.
        @Test func semaphoreAtItsEndIsNoLostDevice() async throws {
            let path = scratch.make("in", count: 10_000)
            try await FakeMachine.run { machine in
                let file = try await machine.queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 10_000)
                let semaphore = machine.semaphore(.max)
                try await machine.queue.read(
                    from: file, into: buffer[...],
                    synchronization: GPUSynchronization(after: [GPUSemaphorePoint(semaphore, 5)]))
                await expectError(.invalidArgument) {
                    try await machine.queue.read(
                        from: file, into: buffer[...],
                        synchronization: GPUSynchronization(signal: [GPUSemaphorePoint(semaphore, .max)]))
                }
                #expect(!machine.device.isLost)
                let isThere = Salted().matches(machine.contents(buffer))
                #expect(isThere)
            }
        }

        @Test func valueThatDoesNotRiseIsRefusedBeforeVulkanIsCalled() async throws {
            let path = scratch.make("in", count: 10_000)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 10_000)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 10, height: 10))
                let signal = machine.semaphore(9)
                let submits = machine.submitCount
                for value in [0, 8, 9] as [UInt64] {
                    let synchronization = GPUSynchronization(signal: [GPUSemaphorePoint(signal, value)])
                    await expectError(.invalidArgument) {
                        try await queue.read(from: file, into: buffer[...], synchronization: synchronization)
                    }
                    await expectError(.invalidArgument) {
                        try await queue.read(from: file, into: image.whole(), synchronization: synchronization)
                    }
                    await expectError(.invalidArgument) {
                        try await queue.submit(from: file, into: buffer[...], synchronization: synchronization)
                    }
                }
                #expect(machine.submitCount == submits)
                // One that is pending counts too, though the counter does not say so yet.
                let point = GPUSemaphorePoint(signal, 12)
                let first = Task {
                    try await queue.read(
                        from: file, into: buffer[..<100], synchronization: GPUSynchronization(signal: [point]))
                }
                try await machine.submissions(atLeast: 1)
                let count = machine.submitCount
                await expectError(.invalidArgument) {
                    try await queue.read(
                        from: file, into: buffer[200...],
                        synchronization: GPUSynchronization(signal: [GPUSemaphorePoint(signal, 11)]))
                }
                #expect(machine.submitCount == count)
                machine.fake.setExecution(.automatic)
                _ = try await first.value
                #expect(machine.value(signal) == 12)
            }
        }

        /// The last of an image's pieces finds that its signal would go back; what the others began is still put in order.
        @Test func refusedSignalLeavesTheImageInItsFinalLayout() async throws {
            let path = scratch.make("in", count: 4 << 20)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 4096)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1024, height: 1024))
                let signal = machine.semaphore()
                let (later, sooner) = (GPUSemaphorePoint(signal, 5), GPUSemaphorePoint(signal, 3))
                let first = Task {
                    try await queue.read(
                        from: file, into: buffer[...], synchronization: GPUSynchronization(signal: [later]))
                }
                try await machine.submissions(atLeast: 1)
                let second = Task {
                    await expectError(.invalidArgument) {
                        try await queue.read(
                            from: file, into: image.whole(to: .general),
                            synchronization: GPUSynchronization(signal: [sooner]))
                    }
                }
                try await machine.reach("begun") { try await machine.stagingInUse > 1 << 20 }
                machine.fake.setExecution(.automatic)
                _ = try await first.value
                _ = await second.value
                #expect(machine.layout(image) == .general)
                #expect(machine.value(signal) == 5)
            }
        }
    }
}

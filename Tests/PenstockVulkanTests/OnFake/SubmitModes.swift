import CVulkan
import FakeVulkan
import Penstock
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// Whose queue it is: the fake knows who may submit, and when.
    @Suite(.timeLimit(.minutes(5))) struct SubmitModesOnFake {
        private let scratch = Scratch()

        private func stream(_ machine: FakeMachine, _ queue: StorageQueue, tasks: Int = 16) async throws {
            let (path, size) = (scratch.make("in", count: 1 << 20), 1 << 16)
            let file = try await queue.open(path)
            let buffer = try machine.device.makeBuffer(byteCount: tasks * size)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<tasks {
                    group.addTask {
                        for _ in 0..<4 {
                            try await queue.read(
                                from: file, at: UInt64(index * size), into: buffer[index * size..<(index + 1) * size])
                        }
                    }
                }
                try await group.waitForAll()
            }
            let isThere = Salted().matches(machine.contents(buffer))
            #expect(isThere)
        }

        /// The application's own threads submit to the same queue meanwhile, under the same lock.
        @Test func lockedQueueIsSubmittedToUnderItsLockOnly() async throws {
            try await FakeMachine.run(
                .with { $0.requiresLock = true },
                adopting: { adoption, rig in
                    let lock = rig.fake.queueLock
                    adoption.submitMode = .locked(lock: { lock.lock() }, unlock: { lock.unlock() })
                }
            ) { machine in
                let rig = machine.rig
                async let application: Void = {
                    for _ in 0..<200 {
                        rig.fake.queueLock.lock()
                        rig.submit(on: rig.handles.transferQueue)
                        rig.fake.queueLock.unlock()
                        await Task.yield()
                    }
                }()
                try await stream(machine, machine.queue)
                await application
                #expect(machine.fake.queueLock.count > 200)
            }
        }

        @Test func internallySynchronizedQueueNeedsNoLock() async throws {
            try await FakeMachine.run(
                .with { $0.synchronizesQueuesInternally = true },
                adopting: { adoption, _ in adoption.submitMode = .internallySynchronized }
            ) { machine in
                let rig = machine.rig
                async let application: Void = {
                    for _ in 0..<200 {
                        rig.submit(on: rig.handles.transferQueue)
                        await Task.yield()
                    }
                }()
                try await stream(machine, machine.queue)
                await application
            }
        }

        /// Two queues share the device, and the fake complains if both are in the VkQueue at once.
        @Test func storageQueuesShareADevice() async throws {
            try await FakeMachine.run { machine in
                let second = try StorageQueue()
                async let one: Void = stream(machine, machine.queue)
                async let other: Void = stream(machine, second)
                _ = try await (one, other)
                await second.shutdown()
            }
        }

        @Test func recordedTransfersGoWithTheApplicationsCommands() async throws {
            let path = scratch.make("in", count: 1 << 20)
            try await FakeMachine.run(adopting: { adoption, _ in adoption.submitMode = .recorded }) { machine in
                let (queue, rig) = (machine.queue, machine.rig)
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 1 << 20)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 200, height: 300, arrayLayers: 3))
                let pool = rig.pool(family: 0)
                defer { rig.vk.destroyCommandPool(rig.device, pool, nil) }
                let submits = machine.submitCount
                for round in 0..<3 {
                    let ends = Log<Int>()
                    let tasks = (0..<4).map { index in
                        Task {
                            let range = index << 18..<(index + 1) << 18
                            ends.add(try await queue.read(from: file, at: UInt64(index << 18), into: buffer[range]))
                        }
                    }
                    let texture = Task {
                        ends.add(try await queue.read(from: file, into: image.level(0, layer: round, to: .general)))
                    }
                    try await machine.reach("the end of five reads") {
                        let commands = Self.recording(pool, rig)
                        nonisolated(unsafe) let target = commands
                        let point = try await queue.recordTransfers(to: machine.device, into: target)
                        _ = rig.vk.endCommandBuffer(commands)
                        guard let point else { return ends.all.count == 5 }
                        rig.submit(commands, on: rig.handles.transferQueue, signal: (point.semaphore, point.value))
                        #expect(rig.wait(point.semaphore, point.value) == VK_SUCCESS)
                        return ends.all.count == 5
                    }
                    for task in tasks { try await task.value }
                    try await texture.value
                    let isThere = Salted().matches(machine.contents(buffer))
                    #expect(isThere)
                    let texels = machine.fake.contents(of: image.handle, mip: 0, layer: round)
                    let areThere = Salted().matches(texels)
                    #expect(areThere)
                    #expect(machine.layout(image, layer: round) == .general)
                }
                #expect(machine.submitCount > submits)
                // A signal of its own would need a submission of its own.
                let signal = machine.semaphore()
                await expectError(.invalidArgument) {
                    try await queue.read(
                        from: file, into: buffer[..<100],
                        synchronization: GPUSynchronization(signal: [GPUSemaphorePoint(signal, 1)]))
                }
            }
        }

        private static func recording(_ pool: VkCommandPool, _ rig: FakeRig) -> VkCommandBuffer {
            var info = VkCommandBufferAllocateInfo()
            info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO
            info.commandPool = pool
            info.commandBufferCount = 1
            var commands: VkCommandBuffer?
            precondition(rig.vk.allocateCommandBuffers(rig.device, &info, &commands) == VK_SUCCESS)
            rig.begin(commands!)
            return commands!
        }

        @Test func recordingIsForRecordedDevicesOnly() async throws {
            try await FakeMachine.run { machine in
                let commands = OpaquePointer(bitPattern: 64)!
                nonisolated(unsafe) let target = commands
                await expectError(.invalidArgument) {
                    try await machine.queue.recordTransfers(to: machine.device, into: target)
                }
            }
        }
    }
}

import CVulkan
import FakeVulkan
import Penstock
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// Memory that is short when things are made, and budgets.
    @Suite(.timeLimit(.minutes(5))) struct SettingUpOnFake {
        private let scratch = Scratch()

        static let functions = [
            "vkCreateBuffer", "vkAllocateMemory", "vkBindBufferMemory", "vkMapMemory", "vkCreateImage",
            "vkBindImageMemory", "vkCreateSemaphore", "vkCreateCommandPool", "vkAllocateCommandBuffers",
            "vkGetMemoryHostPointerPropertiesEXT", "vkResetCommandPool", "vkBeginCommandBuffer", "vkEndCommandBuffer",
            "vkQueueSubmit2",
        ]

        /// Whatever the call was for fails with a typed error, and the next attempt succeeds.
        @Test(arguments: functions, [true, false])
        func memoryThatIsShortAtAnyCallFailsThatRequestOnly(_ function: String, _ isHost: Bool) async throws {
            let path = scratch.make("in", count: 100_000)
            let result = isHost ? VK_ERROR_OUT_OF_HOST_MEMORY : VK_ERROR_OUT_OF_DEVICE_MEMORY
            for call in 1...10 {
                var configuration = FakeVulkan.Configuration()
                configuration.faults = [function: [call: result]]
                if call % 2 == 0 { configuration.hasExternalMemoryHost = false }
                try await FakeMachine.run(configuration) { machine in
                    let queue = machine.queue
                    let file = try await queue.open(path)
                    func twice<T>(_ body: () async throws -> T) async throws -> T {
                        do {
                            return try await body()
                        } catch let error as StorageError {
                            #expect(error.code == (isHost ? .outOfMemory : .deviceMemory), "\(error)")
                            #expect(error.vulkanResult == result.rawValue)
                            return try await body()
                        }
                    }
                    let buffer = try await twice { try machine.device.makeBuffer(byteCount: 100_000) }
                    let image = try await twice {
                        try machine.device.makeImage(
                            .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 100, height: 100))
                    }
                    for _ in 0..<4 {
                        _ = try await twice { try await queue.read(from: file, into: buffer[...]) }
                        _ = try await twice { try await queue.read(from: file, into: image.whole(to: .general)) }
                    }
                    let isThere = Salted().matches(machine.contents(buffer))
                    #expect(isThere)
                    let texels = machine.fake.contents(of: image.handle, mip: 0)
                    let areThere = Salted().matches(texels)
                    #expect(areThere)
                    #expect(machine.layout(image) == .general)
                    #expect(!machine.device.isLost)
                }
            }
        }

        /// A submission that failed for want of memory has begun nothing and signalled nothing.
        @Test func imageWhoseSubmissionFailedEndsAndItsSignalIsStillToBeHad() async throws {
            let path = scratch.make("in", count: 4 << 20)
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1024, height: 1024))
                let small = try machine.device.makeBuffer(byteCount: 100)
                let signal = machine.semaphore()
                let synchronization = GPUSynchronization(signal: [GPUSemaphorePoint(signal, 1)])
                machine.fake.failNext("vkQueueSubmit2", with: VK_ERROR_OUT_OF_DEVICE_MEMORY)
                await expectError(.deviceMemory) {
                    try await queue.read(from: file, into: image.whole(to: .general), synchronization: synchronization)
                }
                machine.fake.failNext("vkQueueSubmit2", with: VK_ERROR_OUT_OF_HOST_MEMORY)
                await expectError(.outOfMemory) {
                    try await queue.read(from: file, into: small[...], synchronization: synchronization)
                }
                #expect(machine.value(signal) == 0)
                try await queue.read(from: file, into: small[...], synchronization: synchronization)
                #expect(machine.value(signal) == 1)
                try await queue.read(from: file, into: image.whole(to: .general))
                let texels = machine.fake.contents(of: image.handle, mip: 0)
                let areThere = Salted().matches(texels)
                #expect(areThere)
            }
        }

        /// Whichever of its submissions fails: what the earlier ones have begun is ended by one more.
        @Test func imageWhoseLaterSubmissionFailedIsInItsFinalLayout() async throws {
            let path = scratch.make("in", count: 8 << 20)
            for call in 1...10 {
                try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                    let queue = machine.queue
                    let file = try await queue.open(path)
                    let image = try machine.device.makeImage(
                        .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1024, height: 2048))
                    machine.fake.fail("vkQueueSubmit2", at: call, with: VK_ERROR_OUT_OF_DEVICE_MEMORY)
                    let ends = Log<StorageError.Code?>()
                    let task = Task {
                        do throws(StorageError) {
                            _ = try await queue.read(from: file, into: image.whole(to: .shaderReadOnly))
                            ends.add(nil)
                        } catch {
                            ends.add(error.code)
                        }
                    }
                    try await machine.reach("the end of the read") {
                        machine.fake.runAll()
                        return !ends.all.isEmpty
                    }
                    await task.value
                    let hasFailed = ends.all == [.deviceMemory]
                    #expect(hasFailed || (ends.all == [nil] && machine.submitCount < call), "\(call): \(ends.all)")
                    #expect(call < 3 ? hasFailed : true)
                    let layout = machine.layout(image)
                    #expect(
                        layout == .shaderReadOnly || (call == 1 && layout == .undefined), "\(call): \(layout as Any)")
                    #expect(try await machine.stagingInUse == 0)
                }
            }
        }

        /// Without importing, there is one slab's memory and no more: everything goes through that.
        @Test func oneSlabIsEnough() async throws {
            let path = scratch.make("in", count: 8 << 20)
            let configuration = FakeVulkan.Configuration.with {
                $0.hasExternalMemoryHost = false
                $0.memoryLimit = (64 << 20) + (3 << 20)
            }
            try await FakeMachine.run(configuration) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 8 << 20)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<16 {
                        let range = index << 19..<(index + 1) << 19
                        group.addTask {
                            try await queue.read(from: file, at: UInt64(range.lowerBound), into: buffer[range])
                        }
                    }
                    try await group.waitForAll()
                }
                let isThere = Salted().matches(machine.contents(buffer))
                #expect(isThere)
            }
        }

        @Test func sinkWithoutMemoryForASingleSlabIsRefused() async throws {
            let path = scratch.make("in", count: 8 << 20)
            let configuration = FakeVulkan.Configuration.with {
                $0.hasExternalMemoryHost = false
                $0.memoryLimit = (64 << 20) + 4096
            }
            try await FakeMachine.run(configuration) { machine in
                let file = try await machine.queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 8 << 20)
                await expectError(.deviceMemory) { try await machine.queue.read(from: file, into: buffer[...]) }
                let host = try await machine.queue.allocate(byteCount: 100)
                await expectError(.deviceMemory) { try await machine.queue.read(from: host[...], into: buffer[..<100]) }
            }
        }

        // MARK: Budgets

        @Test func driversBudgetIsKept() async throws {
            let configuration = FakeVulkan.Configuration.with {
                $0.budget = [.init(budget: 100 << 20, usage: 70 << 20), .init(budget: 8 << 30, usage: 0)]
            }
            try await FakeMachine.run(configuration) { machine in
                await expectError(.deviceMemory) { try machine.device.makeBuffer(byteCount: 31 << 20) }
                let image = GPUImage.Description(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 4096, height: 4096)
                await expectError(.deviceMemory) { try machine.device.makeImage(image) }
                _ = try machine.device.makeBuffer(byteCount: 29 << 20)
            }
        }

        @Test func configuredBudgetIsKeptAndGivenBack() async throws {
            try await FakeMachine.run(adopting: { adoption, _ in adoption.memoryBudget = 10 << 20 }) { machine in
                for _ in 0..<3 {
                    let first = try machine.device.makeBuffer(byteCount: 6 << 20)
                    await expectError(.deviceMemory) { try machine.device.makeBuffer(byteCount: 5 << 20) }
                    withExtendedLifetime(first) {}
                }
                _ = try machine.device.makeBuffer(byteCount: 10 << 20)
            }
        }

        /// What is shared counts whole, however many allocate at once; and small ones do not take it all.
        @Test(arguments: [true, false])
        func budgetHoldsForMemoryNotForBuffers(_ isDrivers: Bool) async throws {
            let budget = 10 << 20
            let configuration = FakeVulkan.Configuration.with {
                if isDrivers {
                    $0.budget = [.init(budget: UInt64(budget), usage: 0), .init(budget: 8 << 30, usage: 0)]
                }
            }
            try await FakeMachine.run(configuration, adopting: { adoption, _ in adoption.memoryBudget = budget }) {
                machine in
                let made = await withTaskGroup(of: GPUBuffer?.self) { group in
                    for index in 0..<60 {
                        let size = [4096, 300_000, 1 << 20][index % 3]
                        group.addTask { try? machine.device.makeBuffer(byteCount: size) }
                    }
                    return await group.reduce(into: []) { $0.append($1) }.compactMap { $0 }
                }
                #expect(machine.fake.liveMemoryBytes <= UInt64(budget))
                let bytes = made.reduce(0) { $0 + $1.count }
                #expect(bytes > budget / 2, "\(bytes)")
                #expect(made.count < 60)
                withExtendedLifetime(made) {}
            }
        }
    }
}

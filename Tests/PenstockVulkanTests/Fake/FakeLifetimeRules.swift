import CVulkan
import FakeVulkan
import PenstockVulkan
import TestSupport
import Testing

/// What must not go while it is needed, nor twice, nor stay behind.
@Suite struct FakeLifetimeRules {
    @Test(arguments: misuses)
    func brokenRuleIsReportedAndNoOther(misuse: Misuse) throws {
        let (isReported, others) = try misuse.reports()
        #expect(isReported)
        #expect(others.isEmpty)
    }

    @Test func freeOnceTheHostKnows() throws {
        let rig = try FakeRig()
        let flight = Flight(rig)
        rig.fake.runAll()
        #expect(rig.wait(flight.done, 1) == VK_SUCCESS)
        rig.vk.destroyCommandPool(rig.device, flight.pool, nil)
        rig.destroy(flight.source)
        rig.destroy(flight.destination)
        rig.vk.destroySemaphore(rig.device, flight.done, nil)
        #expect(rig.fake.violations.isEmpty)
        #expect(rig.fake.liveObjects.isEmpty)
    }

    @Test func liveObjectsAreCountedByKind() throws {
        let rig = try FakeRig()
        _ = Flight(rig)
        #expect(
            rig.fake.liveObjects == [.buffer: 2, .memory: 2, .commandPool: 1, .commandBuffer: 1, .semaphore: 1])
    }
}

/// A copy that has been submitted and not executed.
private struct Flight {
    let source: FakeRig.Buffer
    let destination: FakeRig.Buffer
    let pool: VkCommandPool
    let commands: VkCommandBuffer
    let done: VkSemaphore

    init(_ rig: FakeRig) {
        let (source, destination) = (rig.buffer(64, type: 1), rig.buffer(64, type: 0))
        pool = rig.pool()
        done = rig.semaphore()
        commands = rig.commands(pool) { rig.copy($0, source, destination, [(0, 0, 64)]) }
        rig.submit(commands, signal: (done, 1))
        (self.source, self.destination) = (source, destination)
    }
}

private let misuses: [Misuse] = [
    Misuse("buffer destroyed in flight", "VUID-vkDestroyBuffer-buffer-00922") { rig in
        rig.vk.destroyBuffer(rig.device, Flight(rig).source.handle, nil)
    },
    Misuse("memory freed in flight", "VUID-vkFreeMemory-memory-00677") { rig in
        rig.vk.freeMemory(rig.device, Flight(rig).destination.memory.handle, nil)
    },
    Misuse("memory freed when the host cannot know", "VUID-vkFreeMemory-memory-00677") { rig in
        let flight = Flight(rig)
        rig.fake.runAll()
        rig.vk.freeMemory(rig.device, flight.destination.memory.handle, nil)
    },
    Misuse("semaphore destroyed in flight", "VUID-vkDestroySemaphore-semaphore-05149") { rig in
        rig.vk.destroySemaphore(rig.device, Flight(rig).done, nil)
    },
    Misuse("pool destroyed in flight", "VUID-vkDestroyCommandPool-commandPool-00041") { rig in
        rig.vk.destroyCommandPool(rig.device, Flight(rig).pool, nil)
    },
    Misuse("pool reset in flight", "VUID-vkResetCommandPool-commandPool-00040") { rig in
        _ = rig.vk.resetCommandPool(rig.device, Flight(rig).pool, 0)
    },
    Misuse("command buffer begun without a reset", "VUID-vkBeginCommandBuffer-commandBuffer-00050") { rig in
        rig.begin(rig.commands(rig.pool()) { _ in })
    },
    Misuse("command buffer begun in flight", "VUID-vkBeginCommandBuffer-commandBuffer-000") { rig in
        rig.begin(Flight(rig).commands)
    },
    Misuse("command buffer submitted twice", "VUID-vkQueueSubmit2-commandBuffer-03875") { rig in
        rig.submit(Flight(rig).commands)
    },
    Misuse("one-time commands submitted again", "VUID-vkQueueSubmit2-commandBuffer-03876") { rig in
        let flight = Flight(rig)
        rig.fake.runAll()
        _ = rig.value(flight.done)
        rig.submit(flight.commands)
    },
    Misuse("commands that use what is gone", "VUID-vkQueueSubmit2-commandBuffer-03876") { rig in
        let (source, destination) = (rig.buffer(64, type: 1), rig.buffer(64, type: 0))
        let commands = rig.commands(rig.pool()) { rig.copy($0, source, destination, [(0, 0, 64)]) }
        rig.destroy(destination)
        rig.submit(commands)
    },
    Misuse("buffer destroyed twice", "has been destroyed") { rig in
        let buffer = rig.buffer(64, type: 0)
        rig.vk.destroyBuffer(rig.device, buffer.handle, nil)
        rig.vk.destroyBuffer(rig.device, buffer.handle, nil)
    },
    Misuse("memory freed twice", "has been destroyed") { rig in
        let memory = rig.allocate(64, type: 0)
        rig.vk.freeMemory(rig.device, memory.handle, nil)
        rig.vk.freeMemory(rig.device, memory.handle, nil)
    },
    Misuse("adopted device destroyed", "adopted") { rig in rig.vk.destroyDevice(rig.device, nil) },
    Misuse("adopted instance destroyed", "adopted") { rig in
        try InstanceFunctions(rig.handles.instance, rig.fake.getInstanceProcAddr)
            .destroyInstance(rig.handles.instance, nil)
    },
    Misuse("queue of an adopted device fetched", "adopted") { rig in
        var queue: VkQueue?
        rig.vk.getDeviceQueue(rig.device, 0, 0, &queue)
    },
    Misuse("a handle of the wrong kind", "is no buffer") { rig in
        rig.vk.destroyBuffer(rig.device, rig.semaphore(), nil)
    },
]

import CVulkan
import FakeVulkan
import PenstockVulkan
import Testing

@Suite struct FakeCopies {
    @Test(arguments: [FakeVulkan.Execution.manual, .automatic])
    func copyMovesBytesAndBreaksNoRule(execution: FakeVulkan.Execution) throws {
        let rig = try FakeRig(.with { $0.execution = execution })
        let source = rig.buffer(4096, type: 1)
        let destination = rig.buffer(4096, type: 0)
        source.memory.bytes!.storeBytes(of: 0x1234_5678, toByteOffset: 128, as: UInt32.self)
        let pool = rig.pool()
        let done = rig.semaphore()
        let commands = rig.commands(pool) { rig.copy($0, source, destination, [(128, 1024, 4), (132, 2048, 512)]) }
        #expect(rig.submit(commands, signal: (done, 1)) == VK_SUCCESS)
        if execution == .manual {
            #expect(rig.value(done) == 0)
            #expect(rig.fake.runAll() == 1)
        }
        #expect(rig.wait(done, 1) == VK_SUCCESS)
        let bytes = rig.fake.contents(of: destination.handle)
        #expect(Array(bytes[1023..<1029]) == [0xDD, 0x78, 0x56, 0x34, 0x12, 0xDD])

        rig.vk.destroyCommandPool(rig.device, pool, nil)
        rig.vk.destroySemaphore(rig.device, done, nil)
        rig.destroy(source)
        rig.destroy(destination)
        #expect(rig.fake.violations.isEmpty)
        #expect(rig.fake.liveObjects.isEmpty)
        #expect(rig.fake.count(of: "vkAllocateMemory") == 2)
    }
}

import CVulkan
import FakeVulkan
import PenstockVulkan
import TestSupport
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

    @Test(arguments: [
        VK_FORMAT_BC1_RGB_UNORM_BLOCK, VK_FORMAT_BC7_UNORM_BLOCK, VK_FORMAT_ASTC_6x5_UNORM_BLOCK,
        VK_FORMAT_ETC2_R8G8B8_UNORM_BLOCK, VK_FORMAT_R8G8B8A8_UNORM, VK_FORMAT_R8_UNORM,
    ])
    func wholeMipChainGoesThereAndBack(format: VkFormat) throws {
        let rig = try FakeRig()
        let (source, result) = (rig.buffer(1 << 16, type: 1), rig.buffer(1 << 16, type: 1))
        for index in 0..<1 << 16 {
            source.memory.bytes!.storeBytes(
                of: UInt8(truncatingIfNeeded: index * 7 / 3), toByteOffset: index, as: UInt8.self)
        }
        // Mips of 22 × 10, 11 × 5, 5 × 2, 2 × 1, 1 × 1, of three layers.
        let image = rig.image(22, 10, mips: 5, layers: 3, format: format)
        let regions = (0..<UInt32(5)).map { mip in
            rig.region(max(1, 22 >> mip), max(1, 10 >> mip), mip: mip, layers: 3, bufferOffset: UInt64(mip) * 8192)
        }
        let done = rig.semaphore()
        let commands = rig.commands(rig.pool()) {
            let handle = image.handle
            rig.transition($0, handle, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL)
            rig.copy($0, source, to: handle, regions)
            rig.transition($0, handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL)
            rig.copy($0, from: handle, result, regions)
            rig.hostBarrier($0)
        }
        rig.submit(commands, signal: (done, 1))
        rig.fake.runAll()
        #expect(rig.fake.violations.isEmpty)
        for mip in 0..<5 {
            let texels = (0..<3).flatMap { rig.fake.contents(of: image.handle, mip: mip, layer: $0) }
            for buffer in [source, result] {
                let bytes = UnsafeRawBufferPointer(start: buffer.memory.bytes! + mip * 8192, count: texels.count)
                #expect(bytes.elementsEqual(texels))
            }
        }
        #expect(rig.fake.layout(of: image.handle, mip: 4, layer: 2) == VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL)
    }

    @Test func rowsOfTheBufferMayBeLonger() throws {
        let rig = try FakeRig()
        let source = rig.buffer(4096, type: 1)
        for index in 0..<4096 {
            source.memory.bytes!.storeBytes(of: UInt8(truncatingIfNeeded: index), toByteOffset: index, as: UInt8.self)
        }
        let image = rig.image(4, 4, format: VK_FORMAT_R8_UNORM)
        rig.submit(
            rig.commands(rig.pool()) {
                rig.transition(
                    $0, image.handle, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL)
                rig.copy($0, source, to: image.handle, [rig.region(2, 2, x: 1, y: 2, bufferOffset: 8, rowLength: 10)])
            })
        rig.fake.runAll()
        #expect(
            rig.fake.contents(of: image.handle, mip: 0)
                == [
                    0xDD, 0xDD, 0xDD, 0xDD, 0xDD, 0xDD, 0xDD, 0xDD, 0xDD, 8, 9, 0xDD, 0xDD, 18, 19, 0xDD,
                ])
        #expect(rig.fake.violations.isEmpty)
    }
}

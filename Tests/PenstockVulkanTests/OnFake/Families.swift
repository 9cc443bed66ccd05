import CVulkan
import FakeVulkan
import Penstock
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// A queue that does nothing but copy, beside the one that renders.
    @Suite(.timeLimit(.minutes(5))) struct FamiliesOnFake {
        private let scratch = Scratch()

        @Test(arguments: [[1, 1, 1], [16, 16, 8], [0, 0, 0]] as [[UInt32]])
        func imagesFollowTheRulesOfTheirFamily(_ granularity: [UInt32]) async throws {
            let path = scratch.make("in", count: 1 << 20)
            let configuration = FakeVulkan.Configuration.transferQueue(
                granularity: (granularity[0], granularity[1], granularity[2]))
            try await FakeMachine.run(configuration) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let output = try await queue.open(scratch.file("out"), [.readWrite, .create, .truncate])
                for format in [VK_FORMAT_R8G8B8A8_UNORM, VK_FORMAT_BC1_RGB_UNORM_BLOCK, VK_FORMAT_R8_UNORM] {
                    let image = try machine.device.makeImage(
                        .init(format: format.rawValue, width: 100, height: 67, mipLevels: 7, arrayLayers: 2),
                        usage: VK_IMAGE_USAGE_SAMPLED_BIT.rawValue)
                    for order in GPUImage.Order.allCases {
                        let count = try await queue.read(from: file, into: image.whole(order: order))
                        #expect(count == image.byteCount)
                        try await queue.write(
                            image.whole(order: order, from: .shaderReadOnly, to: .general), to: output)
                        let isWritten = Salted().matches(scratch.contents("out")[..<count])
                        #expect(isWritten)
                    }
                    // A part that begins at 16 or 4 and ends inside: only the finest queue takes it.
                    var part = GPUImage.Part(mip: 0)
                    (part.x, part.y, part.width, part.height) = (16, 16, 16, 20)
                    let region = image.parts([part], from: .general, to: .general)
                    let submits = machine.submitCount
                    let isBlock = format == VK_FORMAT_BC1_RGB_UNORM_BLOCK
                    if granularity == [1, 1, 1] {
                        #expect(try await queue.read(from: file, into: region) == region.count)
                    } else {
                        await expectError(.invalidRange) { try await queue.read(from: file, into: region) }
                        #expect(machine.submitCount == submits)
                    }
                    // To the edge from a multiple: the coarse one too.
                    (part.x, part.y, part.width, part.height) = (isBlock ? 64 : 16, isBlock ? 64 : 16, nil, nil)
                    let edge = image.parts([part], from: .general, to: .general)
                    if granularity == [0, 0, 0] {
                        await expectError(.invalidRange) { try await queue.read(from: file, into: edge) }
                    } else {
                        #expect(try await queue.read(from: file, into: edge) == edge.count)
                    }
                }
                try await output.close()
            }
        }

        /// The family that renders takes over what was released to it, with the barrier that it was handed.
        @Test func newOwnerAcquiresWithTheBarrierThatItIsHanded() async throws {
            let path = scratch.make("in", count: 3 << 20)
            try await FakeMachine.run(.transferQueue(granularity: (1, 1, 1))) { machine in
                let (queue, rig) = (machine.queue, machine.rig)
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 3 << 20)
                let image = try machine.device.makeImage(
                    .init(
                        format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 512, height: 512, mipLevels: 3, arrayLayers: 2
                    ),
                    usage: VK_IMAGE_USAGE_SAMPLED_BIT.rawValue)
                let host = rig.buffer(3 << 20, type: 1)
                defer { rig.destroy(host) }
                let pool = rig.pool(family: 0)
                defer { rig.vk.destroyCommandPool(rig.device, pool, nil) }

                let slice = buffer[4096...]
                let region = image.whole()
                let synchronization = GPUSynchronization(newOwner: 0)
                let buffers = try await queue.submit(from: file, into: slice, synchronization: synchronization)
                let images = try await queue.submit(from: file, into: region, synchronization: synchronization)
                let point = buffers.point.value > images.point.value ? buffers.point : images.point
                let commands = rig.commands(pool) { commands in
                    Self.acquire(slice.acquireBarrier(by: 0), region.acquireBarrier(by: 0), commands, rig)
                    let source = FakeRig.Buffer(handle: buffer.handle, memory: host.memory)
                    rig.copy(commands, source, host, [(4096, 4096, (3 << 20) - 4096)])
                    rig.hostBarrier(commands)
                }
                let done = machine.semaphore()
                rig.submit(
                    commands, on: rig.handles.queue, wait: (point.semaphore, point.value), signal: (done, 1))
                #expect(rig.wait(done, 1) == VK_SUCCESS)
                let bytes = UnsafeRawBufferPointer(start: host.memory.bytes! + 4096, count: (3 << 20) - 4096)
                let isThere = Salted().matches(bytes)
                #expect(isThere)
                for mip in 0..<3 { #expect(machine.layout(image, mip: mip, layer: 1) == .shaderReadOnly) }
                await expectError(.invalidArgument) {
                    try await queue.read(from: file, into: slice, synchronization: GPUSynchronization(newOwner: 7))
                }
                await expectError(.invalidArgument) {
                    try await queue.read(from: file, into: slice, synchronization: GPUSynchronization(newOwner: 1))
                }
            }
        }

        /// The same after the image was written to host memory: the barrier is another one.
        @Test func newOwnerAcquiresAnImageThatWasWritten() async throws {
            let path = scratch.make("in", count: 1 << 20)
            try await FakeMachine.run(.transferQueue(granularity: (1, 1, 1))) { machine in
                let (queue, rig) = (machine.queue, machine.rig)
                let file = try await queue.open(path)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 512, height: 512),
                    usage: VK_IMAGE_USAGE_SAMPLED_BIT.rawValue)
                let pool = rig.pool(family: 0)
                defer { rig.vk.destroyCommandPool(rig.device, pool, nil) }
                try await queue.read(from: file, into: image.whole(to: .transferSource))
                let bytes = try await queue.allocate(byteCount: 1 << 20)
                let region = image.whole(from: .transferSource)
                try await queue.write(region, to: bytes[...], synchronization: GPUSynchronization(newOwner: 0))
                #expect(bytes.withUnsafeBytes { Salted().matches($0) })
                let commands = rig.commands(pool) { commands in
                    Self.acquire(nil, region.acquireBarrier(by: 0, afterWrite: true), commands, rig)
                }
                let done = machine.semaphore()
                rig.submit(commands, on: rig.handles.queue, signal: (done, 1))
                #expect(rig.wait(done, 1) == VK_SUCCESS)
                #expect(machine.layout(image) == .shaderReadOnly)
            }
        }

        @Test func concurrentBuffersNeedNoOwner() async throws {
            let path = scratch.make("in", count: 100_000)
            try await FakeMachine.run(
                .transferQueue(granularity: (1, 1, 1)), adopting: { adoption, _ in adoption.sharingFamilies = [0, 1] }
            ) { machine in
                let (queue, rig) = (machine.queue, machine.rig)
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 100_000)
                let host = rig.buffer(100_000, type: 1)
                defer { rig.destroy(host) }
                let pool = rig.pool(family: 0)
                defer { rig.vk.destroyCommandPool(rig.device, pool, nil) }
                let ticket = try await queue.submit(from: file, into: buffer[...])
                let commands = rig.commands(pool) { commands in
                    let source = FakeRig.Buffer(handle: buffer.handle, memory: host.memory)
                    rig.copy(commands, source, host, [(0, 0, 100_000)])
                    rig.hostBarrier(commands)
                }
                let done = machine.semaphore()
                rig.submit(
                    commands, on: rig.handles.queue, wait: (ticket.point.semaphore, ticket.point.value),
                    signal: (done, 1))
                #expect(rig.wait(done, 1) == VK_SUCCESS)
                let isThere = Salted().matches(UnsafeRawBufferPointer(start: host.memory.bytes!, count: 100_000))
                #expect(isThere)
            }
        }

        private static func acquire(
            _ buffer: GPUAcquireBarrier?, _ image: GPUAcquireBarrier, _ commands: VkCommandBuffer, _ rig: FakeRig
        ) {
            let buffers = [buffer].compactMap(\.self).map { buffer in
                var barrier = VkBufferMemoryBarrier2()
                barrier.sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER_2
                barrier.dstStageMask = VK_PIPELINE_STAGE_2_COPY_BIT
                barrier.dstAccessMask = VK_ACCESS_2_TRANSFER_READ_BIT
                barrier.srcQueueFamilyIndex = buffer.sourceFamily
                barrier.dstQueueFamilyIndex = buffer.family
                barrier.buffer = buffer.handle
                barrier.offset = buffer.range.lowerBound
                barrier.size = UInt64(buffer.range.count)
                return barrier
            }
            let images = image.subresources.map { part in
                var barrier = VkImageMemoryBarrier2()
                barrier.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2
                barrier.dstStageMask = VK_PIPELINE_STAGE_2_COPY_BIT
                barrier.dstAccessMask = VK_ACCESS_2_TRANSFER_READ_BIT
                barrier.oldLayout = VkImageLayout(rawValue: image.oldLayout.rawValue)
                barrier.newLayout = VkImageLayout(rawValue: image.newLayout.rawValue)
                barrier.srcQueueFamilyIndex = image.sourceFamily
                barrier.dstQueueFamilyIndex = image.family
                barrier.image = image.handle
                barrier.subresourceRange = VkImageSubresourceRange(
                    aspectMask: VK_IMAGE_ASPECT_COLOR_BIT.rawValue, baseMipLevel: part.mip, levelCount: 1,
                    baseArrayLayer: part.layers.lowerBound, layerCount: UInt32(part.layers.count))
                return barrier
            }
            buffers.withUnsafeBufferPointer { buffers in
                images.withUnsafeBufferPointer { images in
                    var info = VkDependencyInfo()
                    info.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO
                    info.bufferMemoryBarrierCount = UInt32(buffers.count)
                    info.pBufferMemoryBarriers = buffers.baseAddress
                    info.imageMemoryBarrierCount = UInt32(images.count)
                    info.pImageMemoryBarriers = images.baseAddress
                    rig.vk.cmdPipelineBarrier2(commands, &info)
                }
            }
        }
    }
}

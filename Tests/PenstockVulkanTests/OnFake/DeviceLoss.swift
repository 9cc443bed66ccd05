import CVulkan
import FakeVulkan
import Penstock
import PenstockTesting
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// The device is lost, or memory is, at any call: every request ends once, with a typed error, and nothing is left behind.
    @Suite(.timeLimit(.minutes(5))) struct DeviceLoss {
        private let scratch = Scratch()

        static let functions = [
            "vkQueueSubmit2", "vkGetSemaphoreCounterValue", "vkWaitSemaphores", "vkResetCommandPool",
            "vkBeginCommandBuffer", "vkEndCommandBuffer", "vkCmdCopyBuffer2", "vkCmdPipelineBarrier2",
            "vkCmdCopyBufferToImage2", "vkCmdCopyImageToBuffer2", "vkFlushMappedMemoryRanges",
            "vkInvalidateMappedMemoryRanges", "vkAllocateMemory", "vkCreateBuffer", "vkBindBufferMemory",
        ]

        @Test(arguments: functions, [false, true])
        func deviceLostAtAnyCallEndsEveryRequestOnce(_ function: String, _ isPlain: Bool) async throws {
            let path = scratch.make("in", count: 3 << 20)
            for call in [1, 2, 3, 5, 9] {
                var configuration: FakeVulkan.Configuration = isPlain ? .init() : .nonCoherent
                configuration.lostCounterIsMax = call % 2 == 0
                if !isPlain { configuration.importLimit = 0 }
                try await FakeMachine.run(configuration) { machine in
                    let queue = machine.queue
                    let file = try await queue.open(path)
                    let output = try await queue.open(scratch.file("out"), [.readWrite, .create])
                    let buffer = try machine.device.makeBuffer(byteCount: 6 << 20)
                    let source = try machine.device.makeBuffer(byteCount: 1 << 20)
                    let image = try machine.device.makeImage(
                        .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 640, height: 512, arrayLayers: 4),
                        usage: VK_IMAGE_USAGE_SAMPLED_BIT.rawValue)
                    try await queue.read(from: file, into: source[...])
                    try await queue.read(from: file, into: buffer[..<4096])
                    machine.fake.fail(
                        function, at: machine.fake.count(of: function) + call, with: VK_ERROR_DEVICE_LOST)

                    let ends = Log<StorageError.Code?>()
                    let requests = 24
                    await withTaskGroup(of: Void.self) { group in
                        for index in 0..<requests {
                            group.addTask {
                                do throws(StorageError) {
                                    let number = index / 6
                                    switch index % 6 {
                                    case 0:
                                        let range = number * 1000..<(number + 1) * 1000
                                        try await queue.read(from: file, at: UInt64(index), into: buffer[range])
                                    case 1: try await queue.read(from: file, into: image.level(0, layer: number))
                                    case 2:
                                        try await queue.write(source[..<100_000], to: output, at: UInt64(index) << 20)
                                    case 3:
                                        let range = (number + 1) << 20..<(number + 2) << 20
                                        try await queue.read(from: file, into: buffer[range])
                                    case 4:
                                        let host = try await queue.allocate(byteCount: 200_000)
                                        try await queue.write(source[..<200_000], to: host[...])
                                    default:
                                        let range = 500_000 + number * 100_000..<600_000 + number * 100_000
                                        _ = try await queue.submit(from: file, at: 9, into: buffer[range])
                                    }
                                    ends.add(nil)
                                } catch {
                                    ends.add(error.code)
                                }
                            }
                        }
                    }
                    #expect(ends.all.count == requests)
                    for case let code? in ends.all { #expect(code == .deviceLost) }
                    guard machine.device.isLost else {
                        // The function is called less often than that, or may not say so.
                        return
                    }
                    await expectError(.deviceLost) { try await queue.read(from: file, into: buffer[..<4096]) }
                    await expectError(.deviceLost) { try await queue.read(from: file, into: image.level(0)) }
                    await expectError(.deviceLost) { try await queue.write(buffer[..<4096], to: output) }
                    let results = await queue.perform([
                        .read(from: file, into: buffer[..<4096]), .read(from: file, at: 7, into: buffer[5000..<9000]),
                    ])
                    #expect(results.allSatisfy { $0.failureCode == .deviceLost })
                    // The host's side of the queue is as good as ever.
                    let host = try await queue.allocate(byteCount: 4096)
                    #expect(try await queue.read(from: file, into: host[...]) == 4096)
                }
            }
        }
    }
}

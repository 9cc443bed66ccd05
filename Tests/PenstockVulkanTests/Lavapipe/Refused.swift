import CVulkan
import Penstock
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// What Vulkan must not be asked for is refused before it is asked: a typed error, and not a word of the validation layer.
    @Suite(.timeLimit(.minutes(5))) struct Refused {
        private let directory = TemporaryDirectory()

        private static let rgba8 = VK_FORMAT_R8G8B8A8_UNORM.rawValue
        private static let bc1 = VK_FORMAT_BC1_RGB_UNORM_BLOCK.rawValue

        @Test(arguments: Way.allCases)
        func slicesOutsideOfTheirBuffers(_ way: Way) async throws {
            // VUID-VkCopyBufferInfo2-srcOffset-00113 to -size-00116.
            let path = directory.make("file", count: 100_000)
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 10_000)
                    let file = try await queue.open(path, .readWrite)
                    let ranges = [
                        0..<10_001, -1..<10, 9999..<10_001, 10_000..<10_001, 20_000..<20_001, -5..<(-1), 0..<Int.max,
                        Int.max - 1..<Int.max, Int.min..<0,
                    ]
                    for range in ranges {
                        let slice = buffer[range]
                        await expectFailure(.invalidRange) { try await queue.read(from: file, into: slice) }
                        await expectFailure(.invalidRange) { try await queue.write(slice, to: file) }
                        await expectFailure(.invalidRange) { try await queue.submit(from: file, into: slice) }
                        let results = await queue.perform([.read(from: file, into: slice), .write(slice, to: file)])
                        #expect(results.allSatisfy { $0.code == .invalidRange }, "\(range)")
                        if slice.count <= 10_001, slice.count > 0 {
                            let host = try await queue.allocate(byteCount: slice.count)
                            await expectFailure(.invalidRange) { try await queue.read(from: host[...], into: slice) }
                            await expectFailure(.invalidRange) { try await queue.write(slice, to: host[...]) }
                        }
                    }
                    let host = try await queue.allocate(byteCount: 100)
                    await expectFailure(.invalidRange) { try await queue.read(from: host[...], into: buffer[0..<99]) }
                    await expectFailure(.invalidRange) { try await queue.write(buffer[0..<101], to: host[...]) }
                    await expectFailure(.invalidRange) {
                        try await queue.read(from: host[0..<101], into: buffer[0..<101])
                    }
                    #expect(directory.contents(path) == FilePattern().bytes(0..<100_000))
                }
            }
        }

        @Test func sizesThatNoBufferHas() async throws {
            // VUID-VkBufferCreateInfo-size-00912, -06409, VUID-vkAllocateMemory-pAllocateInfo-01713.
            try await withValidatedDevice { device in
                for size in [0, -1, Int.min] {
                    await expectFailure(.invalidArgument) { try device.makeBuffer(byteCount: size) }
                }
                for size in [Int.max, 1 << 50, 1 << 42] {
                    await expectFailure(.deviceMemory) { try device.makeBuffer(byteCount: size) }
                }
            }
            try await withValidatedDevice({ $0.memoryBudget = 1 << 20 }) { device in
                let buffer = try device.makeBuffer(byteCount: 600_000)
                await expectFailure(.deviceMemory) { try device.makeBuffer(byteCount: 600_000) }
                withExtendedLifetime(buffer) {}
            }
        }

        @Test func imagesThatNoDeviceHas() async throws {
            try await withValidatedDevice { device in
                let (rgba8, bc1) = (Self.rgba8, Self.bc1)
                let senseless: [GPUImage.Description] = [
                    .init(format: rgba8, width: 0), .init(format: rgba8, width: 4, height: -1),
                    .init(format: rgba8, width: 4, height: 4, mipLevels: 4),
                    .init(format: rgba8, width: 4, height: 4, mipLevels: 0),
                    .init(format: rgba8, width: 4, height: 4, arrayLayers: 0),
                    .init(format: rgba8, width: 4, height: 4, depth: 4, arrayLayers: 2),
                    .init(format: rgba8, width: 4, height: 4, dimensions: 1),
                    .init(format: rgba8, width: 4, height: 4, depth: 4, dimensions: 2),
                    .init(format: rgba8, width: 4, height: 4, arrayLayers: 2, dimensions: 3),
                    .init(format: rgba8, width: 4, height: 4, dimensions: 4),
                    .init(format: rgba8, width: 4, height: 4, arrayLayers: 5, isCube: true),
                    .init(format: rgba8, width: 4, height: 8, arrayLayers: 6, isCube: true),
                    .init(format: rgba8, width: .max, height: .max),
                ]
                for description in senseless {
                    await expectFailure(.invalidArgument) { try device.makeImage(description) }
                }
                let unsupported: [GPUImage.Description] = [
                    .init(format: 0, width: 4, height: 4), .init(format: .max, width: 4, height: 4),
                    .init(format: VK_FORMAT_D32_SFLOAT.rawValue, width: 4, height: 4),
                    .init(format: VK_FORMAT_G8_B8R8_2PLANE_420_UNORM.rawValue, width: 4, height: 4),
                    // Known to Penstock, and not to lavapipe.
                    .init(format: VK_FORMAT_ASTC_12x12_UNORM_BLOCK.rawValue, width: 12, height: 12),
                    .init(format: VK_FORMAT_R64G64B64A64_UINT.rawValue, width: 4, height: 4),
                    .init(format: rgba8, width: 1 << 20, height: 1), .init(format: rgba8, width: 1, height: 1 << 30),
                    .init(format: rgba8, width: 1, arrayLayers: 1 << 20),
                    .init(format: rgba8, width: 1 << 16, height: 1 << 16, depth: 1 << 16),
                    .init(format: bc1, width: 64, dimensions: 1),
                ]
                for description in unsupported {
                    await expectFailure(.notSupported) { try device.makeImage(description) }
                }
            }
        }

        @Test func partsThatTheImageDoesNotHave() async throws {
            // VUID-VkCopyBufferToImageInfo2-dstImage-…, VkBufferImageCopy2-…-00207, -01558, -06218 and their like.
            let path = directory.make("file", count: 1 << 20)
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let file = try await queue.open(path)
                    let host = try await queue.allocate(byteCount: 4096)
                    let plain = try device.makeImage(
                        .init(format: Self.rgba8, width: 64, height: 32, mipLevels: 6, arrayLayers: 3))
                    let blocks = try device.makeImage(
                        .init(format: Self.bc1, width: 61, height: 30, mipLevels: 5, arrayLayers: 2))
                    func part(_ change: (inout GPUImage.Part) -> Void) -> GPUImage.Part {
                        var part = GPUImage.Part()
                        change(&part)
                        return part
                    }
                    let wrong: [(GPUImage, [GPUImage.Part])] = [
                        (plain, []), (plain, [.init(mip: 6)]), (plain, [.init(mip: -1)]),
                        (plain, [.init(layers: 3..<4)]),
                        (plain, [.init(layers: 1..<1)]), (plain, [.init(layers: -1..<1)]),
                        (plain, [.init(layers: .min ..< .max)]), (plain, [.init(layers: .max ..< .max)]),
                        (plain, [.init(), .init()]),
                        (plain, [part { $0.width = 65 }]), (plain, [part { $0.width = 0 }]),
                        (plain, [part { $0.x = -1 }]), (plain, [part { $0.x = 64 }]), (plain, [part { $0.x = .max }]),
                        (plain, [part { $0.z = 1 }]), (plain, [part { $0.depth = 2 }]),
                        (plain, [part { ($0.y, $0.height) = (31, 2) }]),
                        (plain, [part { $0.rowPitch = 255 }]), (plain, [part { $0.rowPitch = 258 }]),
                        (plain, [part { $0.rowPitch = 0 }]), (plain, [part { $0.rowPitch = .max / 4 * 4 }]),
                        (blocks, [part { $0.x = 2 }]), (blocks, [part { $0.y = 3 }]),
                        (blocks, [part { $0.width = 59 }]),
                        (blocks, [part { ($0.x, $0.width) = (4, 10) }]), (blocks, [part { $0.height = 29 }]),
                        (blocks, [part { $0.rowPitch = 129 }]), (blocks, [part { $0.rowPitch = 120 }]),
                        (blocks, [part { ($0.mip, $0.x) = (4, 4) }]),
                    ]
                    for (index, (image, parts)) in wrong.enumerated() {
                        let region = image.parts(parts)
                        await expectFailure(.invalidRange) { try await queue.read(from: file, into: region) }
                        await expectFailure(.invalidRange) { try await queue.write(region, to: file) }
                        await expectFailure(.invalidRange) { try await queue.read(from: host[...], into: region) }
                        await expectFailure(.invalidRange) { try await queue.write(region, to: host[...]) }
                        await expectFailure(.invalidRange) { try await queue.submit(from: file, into: region) }
                        let results = await queue.perform([.read(from: file, into: region)])
                        #expect(results[0].code == .invalidRange, "\(index)")
                    }
                    for outside in [
                        plain.level(9), plain.level(.max), plain.level(0, layer: .max), plain.level(.min, layer: .min),
                    ] {
                        await expectFailure(.invalidRange) { try await queue.read(from: file, into: outside) }
                    }
                    // Sizes that do not fit, of host memory.
                    await expectFailure(.invalidRange) { try await queue.read(from: host[...], into: plain.whole()) }
                }
            }
        }

        @Test func layoutsThatTheImageCannotHave() async throws {
            // InvalidImageLayout, VUID-VkImageMemoryBarrier2-newLayout-01198, -oldLayout-01208, -01211.
            let path = directory.make("file", count: 1 << 16)
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let file = try await queue.open(path)
                    let shape = GPUImage.Description(format: Self.rgba8, width: 16, height: 16)
                    let sampled = try device.makeImage(shape)
                    let stored = try device.makeImage(shape, usage: VK_IMAGE_USAGE_STORAGE_BIT.rawValue)
                    let preinitialized = GPUImageLayout(rawValue: VK_IMAGE_LAYOUT_PREINITIALIZED.rawValue)
                    let attachment = GPUImageLayout(rawValue: VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL.rawValue)
                    let depth = GPUImageLayout(rawValue: VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL.rawValue)
                    let wrong = [
                        sampled.whole(to: .undefined), sampled.whole(to: preinitialized), sampled.whole(to: attachment),
                        sampled.whole(to: depth), sampled.whole(from: attachment), stored.whole(),
                        stored.whole(from: .shaderReadOnly, to: .general),
                    ]
                    for (index, region) in wrong.enumerated() {
                        let error = await expectFailure(.invalidArgument) {
                            try await queue.read(from: file, into: region)
                        }
                        #expect(error?.message.contains("layout") == true || error?.message.contains("Layout") == true)
                        await expectFailure(.invalidArgument) { try await queue.submit(from: file, into: region) }
                        let results = await queue.perform([.read(from: file, into: region)])
                        #expect(results[0].code == .invalidArgument, "\(index)")
                    }
                    #expect(try await queue.read(from: file, into: stored.whole(to: .general)) == 1024)
                    #expect(try await queue.read(from: file, into: sampled.whole()) == 1024)
                }
            }
        }

        @Test func semaphoreValuesThatDoNotRise() async throws {
            // VUID-VkSubmitInfo2-semaphore-03882, VUID-VkSemaphoreSignalInfo-value-03258.
            let path = directory.make("file", count: 1 << 16)
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt()
                let (timeline, gate) = (raw.makeTimeline(at: 7), raw.makeTimeline())
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 1 << 16)
                    let image = try device.makeImage(.init(format: Self.rgba8, width: 16, height: 16))
                    let file = try await queue.open(path)
                    func signalling(_ value: UInt64, after: [GPUSemaphorePoint] = []) -> GPUSynchronization {
                        .init(after: after, signal: [timeline.at(value)])
                    }
                    for value in [0, 1, 7] as [UInt64] {
                        await expectFailure(.invalidArgument) {
                            try await queue.read(from: file, into: buffer[...], synchronization: signalling(value))
                        }
                        await expectFailure(.invalidArgument) {
                            try await queue.submit(from: file, into: buffer[...], synchronization: signalling(value))
                        }
                        await expectFailure(.invalidArgument) {
                            try await queue.read(from: file, into: image.whole(), synchronization: signalling(value))
                        }
                    }
                    // It was all right when it was asked for, and is not any more when its turn comes.
                    let late = Task {
                        try await queue.read(
                            from: file, into: buffer[...], synchronization: signalling(10, after: [gate.at(1)]))
                    }
                    #expect(
                        try await queue.read(from: file, into: image.whole(), synchronization: signalling(9)) == 1024)
                    let heldBack = Task {
                        try await queue.read(
                            from: file, into: buffer[0..<9], synchronization: signalling(20, after: [gate.at(2)]))
                    }
                    application.signal(gate.at(1))
                    #expect(try await late.value == 1 << 16)
                    try await queue.read(from: file, into: buffer[...], synchronization: signalling(20))
                    application.signal(gate.at(2))
                    await expectFailure(.invalidArgument) { try await heldBack.value }
                    #expect(raw.wait(for: timeline.at(20)) == VK_SUCCESS)
                    #expect(raw.value(of: timeline) == 20)
                    // An image is left in order, whatever becomes of the signal.
                    let heldImage = Task {
                        try await queue.read(
                            from: file, into: image.whole(), synchronization: signalling(25, after: [gate.at(3)]))
                    }
                    for _ in 0..<10 { try await queue.read(from: file, into: buffer[...]) }
                    try await queue.read(from: file, into: buffer[...], synchronization: signalling(30))
                    application.signal(gate.at(3))
                    await expectFailure(.invalidArgument) { try await heldImage.value }
                    #expect(try await queue.read(from: file, into: image.whole()) == 1024)
                }
                raw.destroy(timeline)
                raw.destroy(gate)
            }
        }

        @Test func valuesOfOneSemaphoreFromManyTasksAtOnce() async throws {
            let path = directory.make("file", count: 1 << 16)
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt()
                let timeline = raw.makeTimeline()
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 1 << 16)
                    let file = try await queue.open(path)
                    for round in 0..<200 as Range<UInt64> {
                        let tasks = (0..<4).map { index in
                            Task {
                                let slice = buffer[index * 16_384..<(index + 1) * 16_384]
                                return try await queue.read(
                                    from: file, into: slice,
                                    synchronization: .init(signal: [timeline.at(round * 4 + UInt64(4 - index))]))
                            }
                        }
                        for task in tasks {
                            do { _ = try await task.value } catch let error as StorageError {
                                #expect(error.code == .invalidArgument, "\(error)")
                            }
                        }
                        // The largest value always rises, and the others may have been late.
                        #expect(raw.wait(for: timeline.at(round * 4 + 4)) == VK_SUCCESS)
                        #expect(raw.value(of: timeline) == round * 4 + 4)
                    }
                }
                raw.destroy(timeline)
            }
        }

        @Test func ownersThatDoNotExist() async throws {
            let path = directory.make("file", count: 4096)
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 4096)
                    let file = try await queue.open(path)
                    for family in [device.queueFamily, 1, 99, .max] {
                        await expectFailure(.invalidArgument) {
                            try await queue.read(
                                from: file, into: buffer[...], synchronization: .init(newOwner: family))
                        }
                    }
                }
            }
        }

        @Test func adoptionsOfWhatCannotBeUsed() async throws {
            try await withValidatedDevice { device in
                var adoption = GPUDevice.Adoption(
                    instance: device.instance, physicalDevice: device.physicalDevice, device: device.device,
                    queue: device.queue, queueFamily: device.queueFamily)
                for enabled in [[], [.timelineSemaphores], [.synchronization2]] as [GPUDevice.Adoption.Enabled] {
                    adoption.enabled = enabled
                    let wrong = adoption
                    await expectFailure(.invalidArgument) { try GPUDevice(adopting: wrong) }
                }
                adoption.enabled = [.timelineSemaphores, .synchronization2]
                adoption.queueFamily = 7
                let wrong = adoption
                await expectFailure(.invalidArgument) { try GPUDevice(adopting: wrong) }
            }
        }

        @Test(arguments: Way.allCases)
        func hazardsBetweenRequestsThatMayShareMemory(_ way: Way) async throws {
            // SYNC-HAZARD-…: writes one after another, reads of what others read or have written, and neighbours at any time.
            let path = directory.make("file", count: 8 << 20)
            var random = seededOnce("shared memory, \(way)")
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 4 << 20)
                    let file = try await queue.open(path)
                    let output = try await queue.open(directory["out"], [.readWrite, .create])
                    for round in 0..<10 {
                        // Neighbours without a gap, of any size.
                        var requests: [StorageRequest] = []
                        var start = 0
                        while start < buffer.count {
                            let count = min(buffer.count - start, 1 + random.below(1 << (1 + random.below(18))))
                            requests.append(
                                .read(from: file, at: UInt64(start + round), into: buffer[start..<start + count]))
                            start += count
                        }
                        let results = await queue.perform(requests.shuffled(using: &random))
                        #expect(results.allSatisfy { $0.value != nil }, "seed \(random.seed)")
                        // Over that, and over each other, one after another.
                        for _ in 0..<5 {
                            let start = random.below(3 << 20)
                            let slice = buffer[start..<start + 1 + random.below(1 << 20)]
                            try await queue.read(from: file, at: UInt64(start + round), into: slice)
                        }
                        // Out of the same bytes by many at a time.
                        let tasks = (0..<20).map { index in
                            let start = random.below(3 << 20)
                            let slice = buffer[start..<start + 1 + random.below(1 << 20)]
                            return Task { try await queue.write(slice, to: output, at: UInt64(index << 20)) }
                        }
                        for task in tasks { _ = try await task.value }
                        #expect(try await FilePattern().matches(buffer[...], at: UInt64(round), queue))
                    }
                }
            }
        }

        @Test func buffersAndImagesAreMadeAndDroppedByManyTasksDuringTransfers() async throws {
            // Threading: nothing of the public API needs a lock of the application's.
            let path = directory.make("file", count: 1 << 20)
            try await withValidatedDevice { device in
                let queues = [try StorageQueue(), try StorageQueue(Driver.threads.configuration())]
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<32 {
                        group.addTask {
                            let queue = queues[index % 2]
                            let file = try await queue.open(path)
                            for round in 0..<10 {
                                let buffer = try device.makeBuffer(byteCount: 1 + (index * 10 + round) * 3000)
                                let image = try device.makeImage(.init(format: Self.rgba8, width: 16, height: 16))
                                try await queue.read(from: file, into: image.whole())
                                #expect(try await queue.read(from: file, into: buffer[...]) == buffer.count)
                                #expect(try await FilePattern().matches(buffer[...], queue))
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                for queue in queues { await queue.shutdown() }
            }
        }
    }
}

import CVulkan
import FakeVulkan
import Glibc
import Penstock
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// Many requests at once, of every kind, each with its own end.
    @Suite(.timeLimit(.minutes(5))) struct BatchesOnFake {
        private let scratch = Scratch()

        /// A request is a value: the image is brought from layout to layout each time.
        @Test(arguments: [0, 1 << 20], [100, 1500])
        func sameRequestsMayBePerformedAgain(_ inlineLimit: Int, _ height: Int) async throws {
            let size = 1024 * height
            let path = scratch.make("in", count: 4 * size)
            try await FakeMachine.run(queue: { $0.inlineLimit = inlineLimit }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path, .readWrite)
                let output = try await queue.open(scratch.file("out"), [.readWrite, .create])
                let images = try (0..<2).map { _ in
                    try machine.device.makeImage(
                        .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 256, height: height, arrayLayers: 2))
                }
                let reads = images.map { StorageRequest.read(from: file, into: $0.whole(to: .shaderReadOnly)) }
                let writes = images.map {
                    StorageRequest.write($0.whole(from: .shaderReadOnly, to: .general), to: output)
                }
                for _ in 0..<3 {
                    #expect(await queue.perform(reads).allSatisfy { $0.success == 2 * size })
                    for image in images { #expect(machine.layout(image, layer: 1) == .shaderReadOnly) }
                    #expect(await queue.perform(writes).allSatisfy { $0.success == 2 * size })
                    for image in images { #expect(machine.layout(image, layer: 1) == .general) }
                }
                var rounds = 0
                for request in reads {
                    for await completion in queue.completions(of: [request]) {
                        #expect(completion.result.success == 2 * size)
                        rounds += 1
                    }
                }
                #expect(rounds == 2)
            }
        }

        @Test(arguments: [true, false], [0, 1 << 20])
        func hostBuffersAndImagesShareABatch(_ isPerformed: Bool, _ inlineLimit: Int) async throws {
            let path = scratch.make("in", count: 1 << 20)
            try await FakeMachine.run(queue: { $0.inlineLimit = inlineLimit }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try await machine.buffer(400_000, mark: 0x11)
                let image = try machine.device.makeImage(
                    .init(
                        format: VK_FORMAT_BC7_UNORM_BLOCK.rawValue, width: 61, height: 33, mipLevels: 4, arrayLayers: 2),
                    usage: VK_IMAGE_USAGE_SAMPLED_BIT.rawValue)
                let host = try await queue.allocate(byteCount: 300_000)
                var requests: [StorageRequest] = []
                var counts: [Int?] = []
                for index in 0..<60 {
                    switch index % 4 {
                    case 0:
                        requests.append(
                            .read(from: file, at: UInt64(index * 5000), into: host[index * 5000..<(index + 1) * 5000]))
                        counts.append(5000)
                    case 1:
                        requests.append(
                            .read(from: file, at: UInt64(index * 6000), into: buffer[index * 6000..<(index + 1) * 6000])
                        )
                        counts.append(6000)
                    case 2 where index == 2:
                        requests.append(.read(from: file, into: image.whole()))
                        counts.append(image.byteCount)
                    case 2 where index == 6:
                        // It ends two bytes behind the end of the file.
                        requests.append(.read(from: file, at: (1 << 20) - 998, into: buffer[399_000...]))
                        counts.append(998)
                    case 2:
                        requests.append(.read(from: file, into: buffer[399_999..<400_001]))
                        counts.append(nil)
                    default:
                        requests.append(.read(from: file, at: UInt64(index), into: buffer[index..<index]))
                        counts.append(0)
                    }
                }
                var results: [Int: Result<Int, StorageError>] = [:]
                if isPerformed {
                    for (index, result) in await queue.perform(requests).enumerated() { results[index] = result }
                } else {
                    for await completion in queue.completions(of: requests) {
                        #expect(results[completion.index] == nil, "it ends once")
                        results[completion.index] = completion.result
                    }
                }
                for (index, count) in counts.enumerated() {
                    #expect(results[index]?.success == count, "\(index)")
                    if count == nil { #expect(results[index]?.failureCode == .invalidRange) }
                }
                let bytes = machine.contents(buffer)
                for index in stride(from: 1, to: 60, by: 4) {
                    let isThere = Salted().matches(bytes[index * 6000..<(index + 1) * 6000], at: index * 6000)
                    #expect(isThere)
                    #expect(isFilled(bytes[(index + 1) * 6000..<(index + 2) * 6000], with: 0x11))
                }
                let isEndThere = Salted().matches(bytes[399_000..<399_998], at: (1 << 20) - 998)
                #expect(isEndThere)
                #expect(bytes[399_998...] == [0x11, 0x11], "nothing stale behind the end of the file")
                var start = 0
                for mip in 0..<4 {
                    for layer in 0..<2 {
                        let level = machine.fake.contents(of: image.handle, mip: mip, layer: layer)
                        let isLevelThere = Salted().matches(level, at: start)
                        #expect(isLevelThere)
                        start += level.count
                        #expect(machine.layout(image, mip: mip, layer: layer) == .shaderReadOnly)
                    }
                }
            }
        }

        /// Batches that the device has not begun with, of which every second request is cancelled by its tag.
        @Test func tagsCancelledInTheMiddleEndTheirOwnRequestsOnly() async throws {
            let path = scratch.make("in", count: 1 << 20)
            try await FakeMachine.run(.with { $0.execution = .manual }, queue: { $0.inlineLimit = 0 }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 1 << 20)
                let requests = (0..<128).map { index in
                    StorageRequest.read(
                        from: file, at: UInt64(index * 8192), into: buffer[index * 8192..<(index + 1) * 8192],
                        tag: UInt64(index % 2))
                }
                let task = Task { await queue.perform(requests) }
                try await machine.submissions(atLeast: 1)
                await queue.cancel(tag: 1)
                machine.fake.setExecution(.automatic)
                let results = await task.value
                let bytes = machine.contents(buffer)
                for (index, result) in results.enumerated() {
                    guard result.success == 8192 else {
                        #expect(index % 2 == 1)
                        #expect(result.failureCode == .cancelled)
                        continue
                    }
                    let isThere = Salted().matches(bytes[index * 8192..<(index + 1) * 8192], at: index * 8192)
                    #expect(isThere)
                }
            }
        }

        // MARK: Memory that the kernel refuses

        enum Call: CaseIterable { case read, perform, completions }

        /// As on drivers whose mappings no file can be read into.
        @Test(arguments: Call.allCases, [0, 1 << 20])
        func mappedMemoryThatTheKernelRefusesIsStagedFromThenOn(_ call: Call, _ inlineLimit: Int) async throws {
            let count = 200_000
            let path = scratch.make("in", count: count)
            let forbidden = try #require(
                mmap(nil, count, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap")
            defer { munmap(forbidden, count) }
            nonisolated(unsafe) let mapped = forbidden
            try await FakeMachine.run(queue: { $0.inlineLimit = inlineLimit }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let owned = try machine.device.makeBuffer(byteCount: count)
                let buffer = machine.device.adopt(buffer: owned.handle, byteCount: count, mapped: mapped)
                #expect(buffer.storage.mapped != nil)
                let half = count / 2
                let requests = [
                    StorageRequest.read(from: file, into: buffer[..<half]),
                    .read(from: file, at: UInt64(half), into: buffer[half...]),
                ]
                for _ in 0..<2 {
                    switch call {
                    case .read: #expect(try await queue.read(from: file, into: buffer[...]) == count)
                    case .perform:
                        for result in await queue.perform(requests) { #expect(try result.get() == half) }
                    case .completions:
                        var ended = 0
                        for await completion in queue.completions(of: requests) {
                            #expect(try completion.result.get() == half)
                            ended += 1
                        }
                        #expect(ended == 2)
                    }
                    let isThere = Salted().matches(machine.contents(owned))
                    #expect(isThere)
                    #expect(buffer.storage.mapped == nil, "for good")
                }
            }
        }

        /// Leaving the loop early cancels what has not ended; the memory stays until the device is done with it.
        @Test func completionsThatNobodyWaitsForLetGoOfEverything() async throws {
            let path = scratch.make("in", count: 1 << 20)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let file = try await machine.queue.open(path)
                do {
                    let buffer = try machine.device.makeBuffer(byteCount: 1 << 20)
                    let requests = (0..<64).map { index in
                        StorageRequest.read(
                            from: file, at: UInt64(index) << 14, into: buffer[index << 14..<(index + 1) << 14])
                    }
                    let queue = machine.queue
                    let task = Task { for await _ in queue.completions(of: requests) { break } }
                    try await machine.submissions(atLeast: 1)
                    machine.fake.step()
                    await task.value
                }
                machine.fake.setExecution(.automatic)
            }
        }
    }
}

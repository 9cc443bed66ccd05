import CVulkan
import Penstock
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Transfers wait for the application's semaphores and tell them, and work on the GPU waits for transfers without the CPU.
    @Suite(.timeLimit(.minutes(5))) struct Synchronizing {
        private let directory = TemporaryDirectory()

        @Test(arguments: [Way.imported, .allocated, .direct])
        func transferWaitsForItsSemaphoreAndNobodyElseDoes(_ way: Way) async throws {
            let path = directory.make("file", count: 1 << 20)
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt(.locked, way)
                let gates = [raw.makeTimeline(), raw.makeTimeline(at: 5)]
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 1 << 20)
                    try await FilePattern(99).fill(buffer[...], queue)
                    let file = try await queue.open(path)
                    let points = [gates[0].at(3), gates[1].at(6)]
                    let late = Task {
                        try await queue.read(
                            from: file, into: buffer[0..<400_000], synchronization: .init(after: points))
                    }
                    // Others go past it, and find the memory as it was.
                    for _ in 0..<20 {
                        let slice = buffer[500_000..<600_000]
                        #expect(try await queue.read(from: file, at: 500_000, into: slice) == 100_000)
                        #expect(try await FilePattern(99).matches(buffer[0..<400_000], queue))
                    }
                    application.signal(points[0])
                    for _ in 0..<20 {
                        #expect(try await FilePattern(99).matches(buffer[0..<400_000], queue))
                    }
                    application.signal(points[1])
                    #expect(try await late.value == 400_000)
                    #expect(try await FilePattern().matches(buffer[0..<400_000], queue))
                    #expect(try await FilePattern(99).matches(buffer[400_000..<500_000], at: 400_000, queue))
                }
                for gate in gates { raw.destroy(gate) }
            }
        }

        @Test func waitingTransferCanBeCancelledAndLeavesTheMemoryAlone() async throws {
            let path = directory.make("file", count: 1 << 20)
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt()
                let gate = raw.makeTimeline()
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 1 << 20)
                    try await FilePattern(99).fill(buffer[...], queue)
                    let file = try await queue.open(path)
                    let late = Task {
                        try await queue.read(
                            from: file, into: buffer[...], synchronization: .init(after: [gate.at(1)]))
                    }
                    for _ in 0..<10 { #expect(try await FilePattern(99).matches(buffer[...], queue)) }
                    late.cancel()
                    await expectFailure(.cancelled) { try await late.value }
                    application.signal(gate.at(1))
                    #expect(try await FilePattern(99).matches(buffer[...], queue))
                }
                raw.destroy(gate)
            }
        }

        @Test(arguments: [Way.imported, .allocated, .direct])
        func semaphoreIsSignalledWhenAllBytesAreThere(_ way: Way) async throws {
            let path = directory.make("file", count: (6 << 20) + 1)
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt(.locked, way)
                let timeline = raw.makeTimeline()
                let mirror = raw.makeBuffer(6 << 20)
                try await withStorageQueue(Driver.ioUring.configuration { $0.stagingBytes = 4 << 20 }) { queue in
                    let buffer = try device.makeBuffer(byteCount: 6 << 20)
                    let image = try device.makeImage(
                        .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 64, height: 64, mipLevels: 7))
                    let file = try await queue.open(path)
                    for (round, caching) in [StorageFile.Caching.buffered, .direct].enumerated() {
                        let file = try await queue.open(path, caching: caching)
                        let point = timeline.at(UInt64(10 * (round + 1)))
                        let count = (round == 0 ? 5000 : 6 << 20)
                        let load = Task {
                            try await queue.read(
                                from: file, at: UInt64(round), into: buffer[0..<count],
                                synchronization: .init(signal: [point]))
                        }
                        // The GPU itself waits for it; to be submitted once it is sure to come.
                        #expect(try await load.value == count)
                        #expect(raw.wait(for: timeline.at(point.value)) == VK_SUCCESS)
                        #expect(raw.value(of: timeline) == point.value)
                        application.copy(from: buffer.handle, to: mirror.handle, count: count, after: point)
                        let bytes = UnsafeRawBufferPointer(rebasing: mirror.bytes[0..<count])
                        let mismatch = FilePattern().mismatch(bytes, at: UInt64(round))
                        #expect(mismatch == nil, "\(caching)")
                    }
                    // The same for images and for writes; the larger of two values counts.
                    try await queue.read(
                        from: file, into: image.whole(),
                        synchronization: .init(signal: [timeline.at(30), timeline.at(31)]))
                    #expect(raw.wait(for: timeline.at(31)) == VK_SUCCESS)
                    #expect(raw.value(of: timeline) == 31)
                    let host = try await queue.allocate(byteCount: image.byteCount)
                    try await queue.write(
                        image.whole(from: .shaderReadOnly, to: .shaderReadOnly), to: host[...],
                        synchronization: .init(signal: [timeline.at(40)]))
                    #expect(raw.wait(for: timeline.at(40)) == VK_SUCCESS)
                    #expect(raw.value(of: timeline) == 40)
                    #expect(FilePattern().matches(host))
                }
                raw.destroy(timeline)
                raw.destroy(mirror)
            }
        }

        @Test func failedTransferSignalsNothing() async throws {
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt()
                let timeline = raw.makeTimeline()
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 4096)
                    let path = directory.make("file", count: 4096)
                    let file = try await queue.open(path, .writeOnly)
                    let error = await expectFailure(.badDescriptor) {
                        try await queue.read(
                            from: file, into: buffer[...], synchronization: .init(signal: [timeline.at(1)]))
                    }
                    #expect(error?.path == path)
                    #expect(raw.value(of: timeline) == 0)
                    // And the value is still to be had.
                    let readable = try await queue.open(path)
                    try await queue.read(
                        from: readable, into: buffer[...], synchronization: .init(signal: [timeline.at(1)]))
                    #expect(raw.wait(for: timeline.at(1)) == VK_SUCCESS)
                    #expect(raw.value(of: timeline) == 1)
                }
                raw.destroy(timeline)
            }
        }

        @Test(arguments: Way.allCases, StorageFile.Caching.allCases)
        func workOnTheGPUWaitsForTicketsWithoutTheCPU(_ way: Way, _ caching: StorageFile.Caching) async throws {
            let path = directory.make("file", count: (2 << 20) - 100)
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt(.locked, way)
                let mirror = raw.makeBuffer(2 << 20)
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 2 << 20)
                    let file = try await queue.open(path, caching: caching)
                    for offset in [0, 1, 4096] {
                        dropFromCache(path)
                        for count in [1, 65_536, 2 << 20] {
                            let ticket = try await queue.submit(
                                from: file, at: UInt64(offset), into: buffer[0..<count])
                            #expect(ticket.count == min(count, (2 << 20) - 100 - offset))
                            application.copy(
                                from: buffer.handle, to: mirror.handle, count: count, after: ticket.point)
                            let bytes = UnsafeRawBufferPointer(rebasing: mirror.bytes[0..<ticket.count])
                            let mismatch = FilePattern().mismatch(bytes, at: UInt64(offset))
                            #expect(mismatch == nil, "\(count) at \(offset)")
                        }
                    }
                    let image = try device.makeImage(
                        .init(format: VK_FORMAT_BC1_RGB_UNORM_BLOCK.rawValue, width: 128, height: 128, mipLevels: 8))
                    let ticket = try await queue.submit(from: file, into: image.whole())
                    #expect(ticket.count == image.byteCount)
                    #expect(raw.wait(for: ticket.point) == VK_SUCCESS)
                    let host = try await queue.allocate(byteCount: image.byteCount)
                    try await queue.write(image.whole(from: .shaderReadOnly, to: .shaderReadOnly), to: host[...])
                    #expect(FilePattern().matches(host))
                }
                raw.destroy(mirror)
            }
        }

        @Test func ticketsOfManyTasksAreOfTheirOwnBytes() async throws {
            let path = directory.make("file", count: 1 << 20)
            try await withApplication { application in
                let device = try application.adopt()
                let mirror = application.raw.makeBuffer(1 << 20)
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 1 << 20)
                    let file = try await queue.open(path)
                    let tickets = try await withThrowingTaskGroup(of: GPUTicket.self) { group in
                        for index in 0..<128 {
                            group.addTask {
                                try await queue.submit(
                                    from: file, at: UInt64(index * 8192),
                                    into: buffer[index * 8192..<(index + 1) * 8192])
                            }
                        }
                        return try await group.reduce(into: []) { $0.append($1) }
                    }
                    // The timeline has only one semaphore: waiting for the last is waiting for all.
                    let last = tickets.map(\.point).max { $0.value < $1.value }
                    application.copy(from: buffer.handle, to: mirror.handle, count: 1 << 20, after: last)
                    let mismatch = FilePattern().mismatch(UnsafeRawBufferPointer(mirror.bytes), at: 0)
                    #expect(mismatch == nil)
                }
                application.raw.destroy(mirror)
            }
        }
    }
}

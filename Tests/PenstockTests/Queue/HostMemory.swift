import Penstock
import TestSupport
import Testing

/// Buffers: page-aligned, reused, never more than the limit, and whoever waits is served or leaves.
@Suite(.timeLimit(.minutes(10))) struct HostMemory {
    @Test func buffersArePageAlignedAndAsLargeAsAskedFor() async throws {
        try await withStorageQueue { queue in
            for count in [0, 1, 4095, 4096, 4097, 1 << 20, 2 << 20, (2 << 20) + 1, 10 << 20] {
                let buffer = try await queue.allocate(byteCount: count)
                #expect(buffer.count == count)
                buffer.withUnsafeBytes { #expect(UInt(bitPattern: $0.baseAddress!) % 4096 == 0 && $0.count == count) }
                FilePattern().fill(buffer[...], at: 0)
                #expect(FilePattern().matches(buffer))
            }
            #expect(await queue.statistics.memoryInUse == 0)
        }
    }

    @Test func copiesShareTheMemoryAndTheLastOneReturnsIt() async throws {
        try await withStorageQueue { queue in
            var first: HostBuffer? = try await queue.allocate(byteCount: 4096)
            var second = first
            second!.withUnsafeMutableBytes { $0[7] = 42 }
            first!.withUnsafeBytes { #expect($0[7] == 42) }
            first = nil
            #expect(await queue.statistics.memoryInUse == 4096)
            second = nil
            #expect(await queue.statistics.memoryInUse == 0)
        }
    }

    @Test func whoeverAsksForMoreThanTheLimitWaitsInLine() async throws {
        try await withStorageQueue(Driver.ioUring.configuration { $0.hostMemoryLimit = 4 << 20 }) { queue in
            // A hundred tasks of a megabyte each, four of which fit.
            await withTaskGroup(of: Void.self) { group in
                for task in 0..<100 as Range<UInt64> {
                    group.addTask {
                        let buffer = try! await queue.allocate(byteCount: 1 << 20)
                        FilePattern(task).fill(buffer[..<4096], at: 0)
                        await Task.yield()
                        #expect(FilePattern(task).matches(buffer[..<4096], at: 0))
                        #expect(await queue.statistics.memoryMapped <= 4 << 20)
                    }
                }
            }
            #expect(await queue.statistics.peakMemoryInUse == 4 << 20)
        }
    }

    @Test func waitForMemoryIsCancellable() async throws {
        try await withStorageQueue(Driver.ioUring.configuration { $0.hostMemoryLimit = 2 << 20 }) { queue in
            var all: HostBuffer? = try await queue.allocate(byteCount: 2 << 20)
            let tasks = (0..<100).map { _ in Task { try await queue.allocate(byteCount: 1 << 20).count } }
            for (index, task) in tasks.enumerated() where index % 2 == 0 { task.cancel() }
            for (index, task) in tasks.enumerated() where index % 2 == 0 {
                await expectFailure(.cancelled) { try await task.value }
            }
            _ = all?.count
            all = nil
            for (index, task) in tasks.enumerated() where index % 2 == 1 {
                #expect(try await task.value == 1 << 20)
            }
            // Cancelled before it asks: memory or the error, but no wait without end.
            let early = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await queue.allocate(byteCount: 4096).count
            }
            _ = await early.result
            #expect(await queue.statistics.memoryInUse == 0)
        }
    }

    @Test func buffersOutliveTheirQueue() async throws {
        let buffer: HostBuffer
        do {
            let queue = try StorageQueue()
            buffer = try await queue.allocate(byteCount: 1 << 20)
            await queue.shutdown()
        }
        FilePattern().fill(buffer[...], at: 0)
        #expect(FilePattern().matches(buffer))
    }

    @Test func slabsThatALargeBufferTookTheRoomOfAreNoLongerReadInto() async throws {
        let directory = TemporaryDirectory()
        let path = directory.make("file", count: 4 << 20)
        try await withStorageQueue(Driver.ioUring.ringOnly { $0.hostMemoryLimit = 4 << 20 }) { queue in
            let file = try await queue.open(path, caching: .direct)
            for _ in 0..<10 {
                for size in [1 << 20, 4 << 20, 64 << 10] {
                    let buffer = try await queue.read(from: file, 0..<UInt64(size))
                    #expect(buffer.count == size && FilePattern().matches(buffer))
                }
            }
        }
    }
}

import Penstock
import SystemPackage

/// What is not a speed: heap allocations, and memory under a hundred thousand concurrent reads.
extension BenchRead {
    func reportAllocations(_ session: BenchSession) async throws {
        guard AllocationCounter.isAvailable else { return }
        let offsets = session.file.randomOffsets(count: 12800, blockSize: 4096, seed: session.seed)
        func count(_ name: String, limit: UInt64?, inline: Bool, _ run: (QueueReads) async throws -> Sample)
            async throws
        {
            let queue = try await QueueReads(session.file, blockSize: 4096, offsets: offsets, depth: 128) {
                if !inline { $0.inlineLimit = 0 }
            }
            _ = try await run(queue)
            guard let total = try await AllocationCounter.count({ _ = try await run(queue) }) else { return }
            let perRequest = Double(total) / Double(offsets.count)
            let title = "allocations per request, \(name): \(Units.fixed(perRequest, decimals: 3))"
            guard let limit else { return session.report.note(title + "\n") }
            // The counted run also makes its own tasks, batches and results: a few hundred objects for 12,800 requests.
            session.report.print(.limit(title, value: perRequest.rounded(), atMost: Double(limit)))
        }
        try await count("perform", limit: 0, inline: false) { try await $0.batches(on: .queue) }
        try await count("read, ring", limit: nil, inline: false) { try await $0.tasks() }
        try await count("read, inline", limit: nil, inline: true) { try await $0.tasks() }
    }

    /// A hundred thousand tasks that each wait for a read. They share destinations, so that the memory counted is that of
    /// the tasks and the queue.
    func reportConcurrency(_ session: BenchSession) async throws {
        let count = 100_000
        let offsets = session.file.randomOffsets(count: count, blockSize: 4096, seed: session.seed)
        var configuration = StorageQueue.Configuration()
        configuration.inlineLimit = 0
        let queue = try StorageQueue(configuration)
        let file = try await queue.open(FilePath(session.file.path), caching: .buffered)
        let memory = try await queue.allocate(byteCount: 1 << 20)
        PeakMemory.reset()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for (index, offset) in offsets.enumerated() {
                let start = index % 256 * 4096
                group.addTask { try await queue.read(from: file, at: offset, into: memory[start..<start + 4096]) }
            }
            var sum = 0
            for try await bytes in group { sum += bytes }
            guard sum == count * 4096 else { throw BenchError("of \(count) reads not all were whole") }
        }
        let peak = PeakMemory.bytes()
        let statistics = await queue.statistics
        await queue.shutdown()
        session.report.print(
            .limit(
                "100,000 concurrent reads, peak memory: \(Units.bytes(peak))", value: Double(peak), atMost: 400e6))
        session.report.print(
            .limit(
                "100,000 concurrent reads, peak bytes in flight: \(Units.bytes(UInt64(statistics.peakBytesInFlight)))",
                value: Double(statistics.peakBytesInFlight), atMost: Double(configuration.bytesInFlight)))
    }
}

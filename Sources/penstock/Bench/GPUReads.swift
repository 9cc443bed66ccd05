import Penstock
import PenstockVulkan
import SystemPackage

/// Penstock's side of a GPU case.
final class GPUReads: Sendable {
    let queue: StorageQueue
    private let file: StorageFile
    private let uploads: GPUUploads
    private let slices: [GPUBuffer.Slice]

    /// - Parameter direct: Whether files may be read straight into the destination.
    init(_ uploads: GPUUploads, direct: Bool) async throws {
        queue = try StorageQueue()
        file = try await queue.open(FilePath(uploads.file.path), caching: .buffered)
        self.uploads = uploads
        let buffer = direct ? uploads.gpu.destination : uploads.gpu.stagedDestination
        slices = uploads.offsets.indices.map { index in
            let place = uploads.place(of: index)
            return buffer[place..<place + uploads.blockSize]
        }
    }

    private func measure(_ body: () async throws -> Void) async throws -> Sample {
        let sample = try await Sample.measure(operations: slices.count, bytes: uploads.bytes, body)
        try uploads.verify()
        return sample
    }

    /// Tasks that each read a share, one block after another.
    func tasks(_ count: Int) async throws -> Sample {
        try await measure {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<count {
                    let share = slices.count * task / count..<slices.count * (task + 1) / count
                    group.addTask { try await self.read(share) }
                }
                try await group.waitForAll()
            }
        }
    }

    private func read(_ share: Range<Int>) async throws {
        for index in share {
            let count = try await queue.read(from: file, at: uploads.offsets[index], into: slices[index])
            guard count == uploads.blockSize else { throw BenchError("penstock moved fewer bytes than asked") }
        }
    }

    /// One task that reads one block after another, and the median of its times.
    func latency() async throws -> Sample {
        var times: [Double] = []
        times.reserveCapacity(slices.count)
        var sample = try await measure {
            for index in slices.indices {
                let start = Clock.wall()
                try await read(index..<index + 1)
                times.append(Double(Clock.wall() - start))
            }
        }
        sample.measuredNanoseconds = times.median
        return sample
    }

    /// As many tasks as the hand-written uploader has segments, each performing batches.
    func batches(of size: Int, tasks: Int = 4) async throws -> Sample {
        let batches = stride(from: 0, to: slices.count, by: size).map { start in
            (start..<min(start + size, slices.count)).map { index in
                StorageRequest.read(from: file, at: uploads.offsets[index], into: slices[index])
            }
        }
        let cursor = Cursor()
        return try await measure {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<tasks {
                    group.addTask {
                        var results: [Result<Int, StorageError>] = []
                        while let batch = cursor.next(below: batches.count) {
                            await self.queue.perform(batches[batch], into: &results)
                            for result in results where try result.get() != self.uploads.blockSize {
                                throw BenchError("penstock moved fewer bytes than asked")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}

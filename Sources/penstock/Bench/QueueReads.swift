import Penstock
import SystemPackage

/// Penstock's side of a read case: a queue, the benchmark file on it, and one page-aligned buffer for each request in
/// flight.
final class QueueReads: Sendable {
    /// Where the reading tasks run.
    enum Home: Sendable {
        /// On the global executor, as most callers.
        case global
        /// On the queue's own thread.
        case queue
    }

    let queue: StorageQueue
    private let file: StorageFile
    private let blockSize: Int
    private let offsets: [UInt64]
    private let slices: [HostBuffer.Slice]

    init(
        _ file: BenchFile, blockSize: Int, offsets: [UInt64], depth: Int, caching: StorageFile.Caching = .buffered,
        _ configure: (inout StorageQueue.Configuration) -> Void = { _ in }
    ) async throws {
        var configuration = StorageQueue.Configuration()
        configure(&configuration)
        queue = try StorageQueue(configuration)
        self.file = try await queue.open(FilePath(file.path), caching: caching)
        self.blockSize = blockSize
        self.offsets = offsets
        // One allocation, as an engine would make it: huge pages, and one registration for all.
        let memory = try await queue.allocate(byteCount: depth * blockSize)
        slices = (0..<depth).map { memory[$0 * blockSize..<($0 + 1) * blockSize] }
    }

    private var bytes: UInt64 { UInt64(offsets.count * blockSize) }

    /// As many tasks as there are buffers, each reading its share one block after another.
    func tasks(on home: Home = .global) async throws -> Sample {
        let executor: StorageExecutor? = home == .queue ? queue.executor : nil
        let sample = try await Sample.measure(operations: offsets.count, bytes: bytes) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in slices.indices {
                    group.addTask(executorPreference: executor) { try await self.readShare(of: task) }
                }
                try await group.waitForAll()
            }
        }
        for task in slices.indices {
            if let last = share(of: task).last { try verify(slices[task], holds: last) }
        }
        return sample
    }

    private func share(of task: Int) -> ArraySlice<UInt64> {
        let count = offsets.count / slices.count
        let start = task * count
        return offsets[start..<(task == slices.count - 1 ? offsets.count : start + count)]
    }

    private func readShare(of task: Int) async throws {
        let slice = slices[task]
        for offset in share(of: task) {
            guard try await queue.read(from: file, at: offset, into: slice) == blockSize else {
                throw BenchError("penstock read fewer bytes than asked at \(offset)")
            }
        }
    }

    /// One task that performs batches of as many requests as there are buffers.
    func batches(on home: Home) async throws -> Sample {
        let batches = stride(from: 0, to: offsets.count, by: slices.count).map { start in
            zip(offsets[start..<min(start + slices.count, offsets.count)], slices).map { offset, slice in
                StorageRequest.read(from: file, at: offset, into: slice)
            }
        }
        let executor: StorageExecutor? = home == .queue ? queue.executor : nil
        let sample = try await Sample.measure(operations: offsets.count, bytes: bytes) {
            try await Task(executorPreference: executor) { try await self.perform(batches) }.value
        }
        for request in batches.last ?? [] { try verify(request.slice!, holds: request.offset) }
        return sample
    }

    private func perform(_ batches: [[StorageRequest]]) async throws {
        var results: [Result<Int, StorageError>] = []
        for batch in batches {
            await queue.perform(batch, into: &results)
            for result in results {
                guard try result.get() == blockSize else { throw BenchError("penstock read fewer bytes than asked") }
            }
        }
    }

    private func verify(_ slice: HostBuffer.Slice, holds offset: UInt64) throws(BenchError) {
        guard slice.withUnsafeBytes({ BenchContent.matches($0, at: offset) }) else {
            throw BenchError("penstock delivered wrong bytes for offset \(offset)")
        }
    }
}

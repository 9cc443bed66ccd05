import Penstock
import SystemPackage

/// Streams files through a queue: as many at a time as allowed, each with bounded memory.
struct Streamer: Sendable {
    let queue: StorageQueue
    /// The GPU memory that the files go to; nil: they go to host memory.
    let ring: BufferRing?
    let caching: StorageFile.Caching
    let tasks: Int
    let verifies: Bool
    let progress: Progress

    /// Files up to this size are loaded whole; of larger ones, only a few chunks are in memory at a time.
    private static let wholeFileLimit: UInt64 = 4 << 20
    private static let chunkSize = 1 << 20

    /// Streams every regular file at and below the roots. Ends early, with what it has, when its task is cancelled.
    func stream(_ roots: [FilePath]) async -> Report {
        // Walking a directory blocks, so the walk has a thread of its own. The files' tasks go where Swift's tasks go.
        await withTaskExecutorPreference(BlockingThreads.shared) {
            await withTaskGroup(of: Outcome.self) { group in
                var report = Report()
                var running = 0
                for found in FileWalk(roots) {
                    guard !Task.isCancelled else { break }
                    // The walk waits here when it is ahead: no list of a million paths, no million tasks.
                    if running == tasks, let outcome = await group.next() {
                        report.add(outcome)
                        running -= 1
                    }
                    switch found {
                    case .file(let asset):
                        group.addTask(executorPreference: globalConcurrentExecutor) { await outcome(of: asset) }
                        running += 1
                    case .unreadable(let path, let errno):
                        report.add(.unreadable(path, errno.description))
                    }
                }
                for await outcome in group { report.add(outcome) }
                return report
            }
        }
    }

    /// The heart of it: a file's bytes, by way of the queue, as a checksum.
    func checksum(of asset: Asset) async throws(StorageError) -> Checksum {
        if let ring { return try await checksum(of: asset, through: ring) }
        var checksum = Checksum()
        // A small file takes one call and one suspension: none, if the page cache has it.
        if caching == .automatic, asset.size <= Self.wholeFileLimit {
            let buffer = try await queue.load(asset.path)
            take(buffer, into: &checksum)
            return checksum
        }
        // A large one arrives in chunks that are read ahead of their use and recycled after it. The file closes itself
        // when its last reference goes.
        let file = try await queue.open(asset.path, caching: caching)
        let fitsIntoOne = asset.size < UInt64(Self.chunkSize)
        for try await chunk in queue.chunks(of: file, size: Self.chunkSize, readAhead: fitsIntoOne ? 1 : 4) {
            take(chunk, into: &checksum)
        }
        return checksum
    }

    private func take(_ buffer: HostBuffer, into checksum: inout Checksum) {
        if verifies {
            buffer.withUnsafeBytes { checksum.update($0) }
        } else {
            checksum.skip(buffer.count)
        }
        progress.add(bytes: buffer.count)
    }
}

import Glibc
import Penstock
import SystemPackage

/// What the file system under a directory can do, found out with a small file of our own there.
struct DiskFindings {
    private let path: String

    init(_ directory: String) { path = "\(directory)/.penstock-doctor-\(getpid())" }

    func all() async throws -> [Finding] {
        defer { unlink(path) }
        do {
            return try await withStorageQueue { queue in
                try await write(on: queue)
                return [try await direct(on: queue), try await inline(on: queue)]
            }
        } catch let error as StorageError {
            return [
                Finding(
                    "disk", isGood: false, rung: "not examined", reason: "\(error)",
                    advice: "name a directory that can be written: penstock doctor --directory PATH")
            ]
        }
    }

    private func write(on queue: StorageQueue) async throws {
        let file = try await queue.open(FilePath(path), [.readWrite, .create, .exclusive])
        let buffer = try await queue.allocate(byteCount: 64 << 10)
        buffer.withUnsafeMutableBytes { bytes in _ = memset(bytes.baseAddress!, 0x5A, bytes.count) }
        try await queue.write(buffer[...], to: file)
        try await file.sync()
        try await file.close()
    }

    /// One real read around the page cache: some file systems accept `O_DIRECT` and then fail reads.
    private func direct(on queue: StorageQueue) async throws -> Finding {
        let file = try await queue.open(FilePath(path), caching: .direct)
        let buffer = try await queue.allocate(byteCount: 64 << 10)
        try await queue.read(from: file, into: buffer)
        let wasDirect = await queue.statistics.flow(.direct).requests > 0
        let wasRetried = await queue.statistics.retries > 0
        let isGood = wasDirect && !wasRetried
        return Finding(
            "direct I/O here", isGood: isGood, rung: isGood ? "O_DIRECT" : "page cache",
            reason: isGood ? nil : "the file system refuses O_DIRECT, or fails reads with it",
            advice: isGood ? nil : "bulk reads of cold files cost more CPU time; ext4, XFS and Btrfs can do it")
    }

    /// Whether the page cache can be read without sleeping, which the inline path needs.
    private func inline(on queue: StorageQueue) async throws -> Finding {
        let file = try await queue.open(FilePath(path), caching: .buffered)
        let buffer = try await queue.allocate(byteCount: 4096)
        // The first read may have to fetch the page; the second finds it.
        for _ in 0..<2 { try await queue.read(from: file, into: buffer) }
        let isGood = await queue.statistics.flow(.inline).requests > 0
        return Finding(
            "inline reads here", isGood: isGood, rung: isGood ? "RWF_NOWAIT" : "through the ring",
            reason: isGood ? nil : "the file system cannot say whether a page is cached",
            advice: isGood ? nil : "cached reads cost a thread change each; batch them with perform(_:)")
    }
}

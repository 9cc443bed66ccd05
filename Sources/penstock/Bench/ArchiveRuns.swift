import Glibc
import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage

/// Small files as an archive: packed once, streamed as often as asked.
final class ArchiveRuns: Sendable {
    let archive: StorageArchive
    let summary: ArchiveWriter.Summary
    /// Seconds that packing took.
    let packingSeconds: Double
    /// By how much the process has grown meanwhile, at most, in bytes.
    let packingMemory: UInt64
    private let path: FilePath

    /// Packs the files; the archive goes with the object.
    init(_ files: SmallFiles, _ codec: (any Codec)?, on queue: StorageQueue) async throws {
        path = FilePath("\(files.folder).penstock")
        let sources = try ArchiveFolder(FilePath(files.folder)).sources
        let bar = ArchiveBar("packing", total: files.byteCount)
        defer { bar.finish() }
        let before = PeakMemory.reset()
        let start = Clock.wall()
        summary = try await ArchiveWriter(on: queue, codec: codec).write(sources, to: path) { bar.report($0) }
        packingSeconds = Double(Clock.wall() - start) / 1e9
        packingMemory = PeakMemory.bytes() - before
        archive = try await StorageArchive.open(path, on: queue)
    }

    deinit { _ = path.withPlatformString { unlink($0) } }

    /// Everything once, part by part, into memory that is used again.
    func stream() async throws -> Sample {
        let (entries, expected) = (archive.entries.count, summary.contentBytes)
        return try await Sample.measure(operations: entries, bytes: expected) {
            var (ends, bytes) = (0, UInt64(0))
            for try await part in archive.contents() {
                bytes += UInt64(part.bytes.count)
                if part.isLast { ends += 1 }
            }
            guard ends == entries, bytes == expected else { throw BenchError("not all of the archive has come") }
        }
    }

    /// The same, from the disk.
    func streamCold() async throws -> Sample {
        try SmallFiles.forget(path.string)
        return try await stream()
    }
}

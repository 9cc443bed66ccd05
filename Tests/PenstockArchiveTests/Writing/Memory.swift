import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// Packing and reading take memory for what is in work, however much there is.
@Suite(.timeLimit(.minutes(10))) struct Memory {
    private let directory = TemporaryDirectory()

    @Test func memoryIsThatOfAWindow() async throws {
        // 64 MiB that are no trouble to encode, in one file and in many.
        let large = directory.makeSparse("large", size: 48 << 20)
        let small = directory.makeSparse("small", size: 4000)
        var sources = [ArchiveSource("large", file: large, size: 48 << 20)]
        for index in 0..<4000 { sources.append(ArchiveSource("small/\(index)", file: small, size: 4000)) }
        let path = directory["archive"]
        // What packing asks for: a window of chunks with room to encode them, and the output's buffer.
        try await withStorageQueue(Driver.ioUring.configuration { $0.hostMemoryLimit = 16 << 20 }) { queue in
            var writer = ArchiveWriter(on: queue, codec: LZ4())
            writer.window = 12
            let packed = sources
            let summary = try await writer.write(packed, to: path)
            #expect(summary.entries == 4001 && summary.contentBytes == (48 << 20) + 16_000_000)
            let peak = await queue.statistics.peakMemoryInUse
            #expect(peak <= 12 << 20, "\(peak) bytes while packing")
        }
        try await withStorageQueue(Driver.ioUring.configuration { $0.hostMemoryLimit = 16 << 20 }) { queue in
            let archive = try await StorageArchive.open(path, on: queue)
            var bytes: UInt64 = 0
            for try await part in archive.contents(size: 1 << 20, readAhead: 4) { bytes += UInt64(part.bytes.count) }
            #expect(bytes == (48 << 20) + 16_000_000)
            #expect(try await archive.damages() == [])
            try await archive.extract(to: directory["out"])
            let peak = await queue.statistics.peakMemoryInUse
            #expect(peak <= 12 << 20, "\(peak) bytes while reading")
        }
    }

    @Test(.timeLimit(.minutes(10))) func chunksAheadNeverHoldWhatTheNextOneWaitsFor() async throws {
        // The first has a file to open; the others could take all memory meanwhile.
        let first = directory.makeSparse("first", size: 1 << 20)
        let rest = [UInt8](repeating: 1, count: 1 << 20)
        var sources = [ArchiveSource("0", file: first, size: 1 << 20)]
        for index in 0..<40 { sources.append(ArchiveSource("1/\(index)", bytes: rest)) }
        try await withStorageQueue(Driver.ioUring.configuration { $0.hostMemoryLimit = 8 << 20 }) { queue in
            var writer = ArchiveWriter(on: queue, codec: Zstd(level: 1), chunkSize: 1 << 20)
            writer.window = 64
            let summary = try await writer.write(sources, to: directory["archive"])
            #expect(summary.entries == 41 && summary.contentBytes == 41 << 20)
        }
    }

    @Test(.timeLimit(.minutes(10))) func memoryForNoChunkIsATypedError() async throws {
        // The output's buffer and a chunk of 2 MiB with room to encode it do not fit, and never will.
        try await withStorageQueue(Driver.ioUring.configuration { $0.hostMemoryLimit = 6 << 20 }) { queue in
            let writer = ArchiveWriter(on: queue, codec: Zstd(level: 1), chunkSize: 2 << 20)
            let bytes = [UInt8](repeating: 1, count: 2 << 20)
            let error = await expectArchiveFailure(.storage) {
                try await writer.write([ArchiveSource("a", bytes: bytes)], to: directory["archive"])
            }
            #expect((error?.underlying as? StorageError)?.code == .memoryLimit)
            #expect(directory.names == [])
            // A smaller entry has smaller chunks.
            try await writer.write([ArchiveSource("a", bytes: [1, 2, 3])], to: directory["archive"])
        }
    }

    @Test func theWindowHasFewerFilesThanAProgramMayOpen() {
        #expect(ArchiveWriter.window(processors: 2) == 12)
        #expect(ArchiveWriter.window(processors: 4096) <= 512)
    }
}

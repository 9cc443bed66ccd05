import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// What was packed comes back, whichever way it is read.
@Suite(.timeLimit(.minutes(10))) struct RoundTrips {
    private let directory = TemporaryDirectory()

    @Test(arguments: Packer.allCases)
    func everySizeComesBack(_ packer: Packer) async throws {
        let files = Files.ofEverySize()
        let path = directory["archive"]
        try await withStorageQueue { queue in
            let writer = ArchiveWriter(on: queue, codec: packer.codec)
            let summary = try await writer.write(files.sources, to: path)
            #expect(summary.entries == files.count && summary.deletions == 0)
            #expect(summary.contentBytes == files.values.reduce(0) { $0 + UInt64($1.count) })
            #expect(summary.fileSize == UInt64(directory.contents(path).count))
            // Nothing is there but the archive.
            #expect(directory.names == ["archive"])

            let archive = try await StorageArchive.open(path, on: queue)
            #expect(archive.entries.count == files.count)
            #expect(try await archive.files() == files)
            #expect(try await archive.damages() == [])
            if packer != .none {
                #expect(archive["zeros"]?.codec == packer.codec?.identifier)
                #expect(summary.storedBytes < summary.contentBytes)
            }
            // What does not shrink is stored, and its codec forgotten.
            #expect(archive["noise/1"]?.codec == nil && archive["noise/1"]?.storedSize == 70_000)
            #expect(archive["sizes/of 0"]?.chunkCount == 0)
            #expect(archive["nothing"] == nil && archive[""] == nil && archive["small"] == nil)
            await expectArchiveFailure(.noSuchEntry) { try await archive.read("nothing") }
        }
    }

    @Test func foldersComeBackFromTheDisk() async throws {
        let files = Files.ofEverySize()
        files.write(to: directory, in: "folder")
        let path = directory["archive.penstock"]
        try await withStorageQueue { queue in
            let folder = try ArchiveFolder(directory["folder"])
            #expect(folder.sources.map(\.path).sorted() == files.keys.sorted() && folder.skipped.isEmpty)
            try await ArchiveWriter(on: queue, codec: LZ4()).write(folder.sources, to: path)
            let archive = try await StorageArchive.open(path, on: queue)
            #expect(try await archive.files() == files)
            let out = directory["out"]
            try await archive.extract(to: out)
            let again = try ArchiveFolder(out)
            #expect(again.sources.map(\.path) == folder.sources.map(\.path))
            for source in again.sources {
                #expect(directory.contents(out.appending(source.path)) == files[source.path])
            }
        }
    }

    @Test func anyPartOfAnEntryCanBeRead() async throws {
        let bytes = content(300_000, 3)
        try await withStorageQueue { queue in
            let path = directory["archive"]
            try await ArchiveWriter(on: queue, codec: Zstd(level: 1), chunkSize: 65_536)
                .write([ArchiveSource("a", bytes: bytes), ArchiveSource("b", bytes: [1])], to: path)
            let archive = try await StorageArchive.open(path, on: queue)
            let entry = try #require(archive["a"])
            #expect(entry.chunkCount == 5 && entry.chunkSize == 65_536)
            var random = seededOnce("parts")
            let edges = [0, 1, 65_535, 65_536, 65_537, 131_072, 262_144, 299_999, 300_000]
            for round in 0..<120 {
                let ends = (0..<2).map { _ in round < 80 ? edges[random.below(edges.count)] : random.below(300_001) }
                let range = ends.min()!..<ends.max()!
                let part = try await archive.read(entry, UInt64(range.lowerBound)..<UInt64(range.upperBound))
                #expect(part.bytes == Array(bytes[range]), "\(range), seed \(random.seed)")
            }
            // Past the end, as much as there is; what is not asked for stays as it was.
            let buffer = try await queue.allocate(byteCount: 1000)
            buffer.withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: 0xEE) }
            let count = try await archive.read(entry, at: 299_990, into: buffer[100..<200])
            #expect(count == 10 && Array(buffer.bytes[100..<110]) == Array(bytes[299_990...]))
            #expect(buffer.bytes[..<100].allSatisfy { $0 == 0xEE } && buffer.bytes[110...].allSatisfy { $0 == 0xEE })
            await expectArchiveFailure(.invalidRange) { try await archive.read(entry, at: 300_001, into: buffer[...]) }
            await expectArchiveFailure(.invalidRange) { try await archive.read(entry, into: buffer[0..<1001]) }
            await expectArchiveFailure(.invalidRange) { try await archive.read(entry, 0..<300_001) }
        }
    }

    @Test(arguments: Driver.allCases)
    func contentsComeInOrderAndWithProgress(_ driver: Driver) async throws {
        let files = Files.ofEverySize()
        let path = directory["archive"]
        try await withStorageQueue(driver.configuration { $0.inlineLimit = driver == .threads ? 0 : 1 << 20 }) {
            queue in
            try await ArchiveWriter(on: queue, codec: Zstd(level: 1)).write(files.sources, to: path)
            let archive = try await StorageArchive.open(path, on: queue)
            for size in [1, 100_000, 1 << 20, 1 << 30] {
                var found: Files = [:]
                var last: ArchiveProgress?
                for try await part in archive.contents(size: size, readAhead: 3) {
                    #expect(UInt64(found[part.entry.path]?.count ?? 0) == part.offset)
                    found[part.entry.path, default: []] += part.bytes.withUnsafeBytes { Array($0) }
                    #expect(part.progress.bytes >= last?.bytes ?? 0 && part.progress.entries >= last?.entries ?? 0)
                    last = part.progress
                }
                #expect(found == files, "\(size)")
                #expect(last?.entries == files.count && last?.entryCount == files.count)
                #expect(last?.bytes == last?.byteCount)
            }
            // A few of them, in another order, and not to the end.
            let wanted = ["zeros", "sizes/of 1", "sizes/of 0"].map { archive[$0]! }
            var paths: [String] = []
            for try await part in archive.contents(of: wanted) { paths.append(part.entry.path) }
            #expect(paths == ["zeros", "sizes/of 1", "sizes/of 0"])
            for try await _ in archive.contents() { break }
        }
    }

    @Test func neighboursAreReadTogether() async throws {
        let path = directory["archive"]
        let files = Dictionary(uniqueKeysWithValues: (0..<1000).map { ("small/\($0)", content(200, UInt64($0))) })
        try await withStorageQueue(Driver.ioUring.ringOnly()) { queue in
            try await ArchiveWriter(on: queue, codec: LZ4()).write(files.sources, to: path)
            let archive = try await StorageArchive.open(path, on: queue)
            let before = await queue.statistics.requests
            var count = 0
            for try await _ in archive.contents() { count += 1 }
            let reads = await queue.statistics.requests - before
            #expect(count == 1000 && reads <= 8, "\(reads) reads")
        }
    }

    @Test func codecsOfOnesOwnAreGivenToTheReader() async throws {
        struct Half: Codec {
            let identifier: CodecIdentifier = "half"
            let chunkSize = 4096
            func bound(of byteCount: Int) -> Int { byteCount }
            func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
                (source.byteCount + 1) / 2
            }
            func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
                destination.withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: 0) }
            }
        }
        let path = directory["archive"]
        try await withStorageQueue { queue in
            let zeros = [UInt8](repeating: 0, count: 10_000)
            try await ArchiveWriter(on: queue, codec: Half()).write([ArchiveSource("a", bytes: zeros)], to: path)
            let stranger = try await StorageArchive.open(path, on: queue)
            let error = await expectArchiveFailure(.unknownCodec) { try await stranger.read("a") }
            #expect(error?.entry == "a" && error?.message.contains("half") == true)
            #expect(try await stranger.damages().map(\.kind) == [.unknownCodec, .unknownCodec, .unknownCodec])
            var options = StorageArchive.Options()
            options.codecs = [Half()]
            let archive = try await StorageArchive.open(path, on: queue, options: options)
            #expect(try await archive.read("a").bytes == zeros)
        }
    }
}

import Glibc
import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// Patches hold what differs, and lie on their base.
@Suite(.timeLimit(.minutes(10))) struct Patches {
    private let directory = TemporaryDirectory()

    @Test func aPatchHoldsWhatDiffersAndNothingElse() async throws {
        let base = Files.ofEverySize()
        var files = base
        files["sizes/of 65537"]![65_536] ^= 1
        files["sizes/of \(3 << 20)"]![1_000_000] ^= 1
        files["sizes/of 1"] = nil
        files["small/7/größe"] = []
        files["new"] = content(500, 9)
        // A file where there was a folder, and a folder where there was a file.
        for index in 0..<40 where index != 7 { files["small/\(index)/größe"] = nil }
        files["small/7/größe"] = nil
        files["small"] = [1, 2, 3]
        files["zeros"] = nil
        files["zeros/one"] = [4]
        try await withStorageQueue { queue in
            let paths = (directory["base"], directory["patch"])
            try await ArchiveWriter(on: queue, codec: Zstd(level: 1)).write(base.sources, to: paths.0)
            let below = try await StorageArchive.open(paths.0, on: queue)
            // Another codec, for the comparison is of bytes and not of chunks.
            let summary = try await ArchiveWriter(on: queue, codec: LZ4()).write(
                files.sources, to: paths.1, over: below)
            #expect(summary.entries == 5 && summary.deletions == 42)

            let both = try await StorageArchive.open([paths.0, paths.1], on: queue)
            #expect(try await both.files() == files)
            #expect(try await both.damages() == [])
            #expect(both.files.map(\.isPatch) == [false, true])
            #expect(both.files[1].baseIdentity == both.files[0].identity)
            #expect(both.files[1].deletions.count == 42 && both.files[1].deletions.contains("sizes/of 1"))
            var contents: Files = [:]
            for try await part in both.contents() {
                contents[part.entry.path, default: []] += part.bytes.withUnsafeBytes { Array($0) }
            }
            #expect(contents == files)

            // By itself it shows what it has.
            let alone = try await StorageArchive.open(paths.1, on: queue)
            #expect(
                alone.entries.map(\.path)
                    == ["new", "sizes/of 65537", "sizes/of 3145728", "small", "zeros/one"].sorted(
                        by: EntryPath.precedes))
            #expect(try await alone.read("new").bytes == files["new"])

            // A patch of a patch, which takes back half of it.
            var third = files
            third["sizes/of 1"] = base["sizes/of 1"]
            third["new"] = nil
            let top = directory["top"]
            try await ArchiveWriter(on: queue, codec: nil).write(third.sources, to: top, over: both)
            let all = try await StorageArchive.open([paths.0, paths.1, top], on: queue)
            #expect(try await all.files() == third)
            #expect(all.files[2].entryCount == 2)
        }
    }

    @Test func whatIsTheSameGivesAnEmptyPatch() async throws {
        let files = Files.ofEverySize()
        try await withStorageQueue { queue in
            try await ArchiveWriter(on: queue, codec: LZ4()).write(files.sources, to: directory["base"])
            let base = try await StorageArchive.open(directory["base"], on: queue)
            let summary = try await ArchiveWriter(on: queue, codec: LZ4())
                .write(files.sources, to: directory["patch"], over: base)
            #expect(summary.entries == 0 && summary.deletions == 0 && summary.fileSize == 128)
            let both = try await StorageArchive.open([directory["base"], directory["patch"]], on: queue)
            #expect(try await both.files() == files)
        }
    }

    @Test func aPatchCannotReplaceItsBase() async throws {
        let files = Files.ofEverySize()
        try await withStorageQueue { queue in
            let path = directory["base"]
            try await ArchiveWriter(on: queue, codec: LZ4()).write(files.sources, to: path)
            let before = directory.contents(path)
            let base = try await StorageArchive.open(path, on: queue)
            // Names of files are bytes, and need not be UTF-8.
            let unreadable = FilePath(platformString: directory["name "].string.utf8CString.dropLast() + [-1, 0])
            for other in [directory["other name"], unreadable] {
                let result = path.withPlatformString { path in other.withPlatformString { link(path, $0) } }
                #expect(result == 0)
            }
            for output in [path, directory["other name"], directory["./base"], unreadable] {
                await expectArchiveFailure(.alreadyExists) {
                    try await ArchiveWriter(on: queue, codec: LZ4()).write(files.sources, to: output, over: base)
                }
            }
            #expect(directory.contents(path) == before)
        }
    }

    @Test func comparingDecodesEachChunkOnce() async throws {
        let files: Files = ["a": content(4 << 20, 1), "b": content(100, 2)]
        try await withStorageQueue { queue in
            let writer = ArchiveWriter(on: queue, codec: LZ4(), chunkSize: 1 << 20)
            try await writer.write(files.sources, to: directory["base"])
            let base = try await StorageArchive.open(directory["base"], on: queue)
            let before = queue.decodingStatistics.cpu.chunks
            try await writer.write(files.sources, to: directory["patch"], over: base)
            // The hundred bytes are stored.
            #expect(queue.decodingStatistics.cpu.chunks - before == 4)
        }
        // In pieces of chunks, where whole ones have no room.
        try await withStorageQueue(Driver.ioUring.configuration { $0.hostMemoryLimit = 2 << 20 }) { queue in
            let base = try await StorageArchive.open(directory["base"], on: queue)
            let writer = ArchiveWriter(on: queue, codec: nil, chunkSize: 4096)
            let summary = try await writer.write(files.sources, to: directory["patch"], over: base)
            #expect(summary.entries == 0)
        }
    }

    @Test func overlaysInTheWrongOrderAreErrors() async throws {
        try await withStorageQueue { queue in
            let writer = ArchiveWriter(on: queue, codec: nil)
            try await writer.write([ArchiveSource("a", bytes: [1])], to: directory["base"])
            try await writer.write([ArchiveSource("a", bytes: [2])], to: directory["other"])
            let base = try await StorageArchive.open(directory["base"], on: queue)
            try await writer.write([ArchiveSource("b", bytes: [3])], to: directory["patch"], over: base)
            func open(_ names: [String]) async throws(ArchiveError) -> StorageArchive {
                try await StorageArchive.open(names.map { directory[$0] }, on: queue)
            }
            #expect(try await open(["base", "patch"]).files() == ["b": [3]])
            await expectArchiveFailure(.overlayMismatch) { try await open(["other", "patch"]) }
            await expectArchiveFailure(.overlayMismatch) { try await open(["base", "other"]) }
            await expectArchiveFailure(.overlayCycle) { try await open(["patch", "base"]) }
            let error = await expectArchiveFailure(.overlayCycle) { try await open(["base", "patch", "patch"]) }
            #expect(error?.file == directory["patch"])
            await expectArchiveFailure(.overlayCycle) { try await open(["base", "base"]) }
            await expectArchiveFailure(.noSuchEntry) { try await open([]) }
        }
    }

    @Test func patchThatPutsAFileIntoAFileIsAnError() async throws {
        var builder = TableBuilder()
        try builder.append("a/b")
        try await withStorageQueue { queue in
            try await ArchiveWriter(on: queue, codec: nil).write([ArchiveSource("a", bytes: [])], to: directory["base"])
            let base = try await StorageArchive.open(directory["base"], on: queue)
            let (header, table) = builder.finished(at: 128, baseIdentity: base.files[0].identity)
            directory.make("patch", header.encoded() + table)
            let error = await expectArchiveFailure(.conflictingPaths) {
                try await StorageArchive.open([directory["base"], directory["patch"]], on: queue)
            }
            #expect(error?.entry == "a/b")
        }
    }
}

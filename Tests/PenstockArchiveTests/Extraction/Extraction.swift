import CTestShims
import Glibc
import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// Files come out into their folder, and nowhere else.
@Suite(.timeLimit(.minutes(10))) struct Extraction {
    private let directory = TemporaryDirectory()

    private func open(_ queue: StorageQueue, _ files: Files) async throws -> StorageArchive {
        try await ArchiveWriter(on: queue, codec: LZ4()).write(files.sources, to: directory["archive"])
        return try await StorageArchive.open(directory["archive"], on: queue)
    }

    /// Once as the kernel offers it, and once as where there is no `openat2`.
    @Test(arguments: [false, true])
    func linksInTheFolderAreNeverFollowed(walking: Bool) async throws {
        _ = mkdir(directory["outside"].string, 0o755)
        directory.make("outside/victim", [42])
        try await withStorageQueue { queue in
            let archive = try await open(queue, ["x/y/z": [1], "victim": [2]])
            // Each in a folder of its own: a link on the way, as the last folder, as the file, and one that leads nowhere.
            let traps: [(name: String, link: String, target: String, code: ArchiveError.Code)] = [
                ("way", "x", "../outside", .unsafeDestination), ("inside", "x", "real", .unsafeDestination),
                ("folder", "x/y", "../../outside", .unsafeDestination),
                ("absolute", "x", directory["outside"].string, .unsafeDestination),
                ("file", "victim", "../outside/victim", .alreadyExists),
                ("nowhere", "x", "../outside/made", .unsafeDestination),
                ("dangling", "victim", "../outside/made", .alreadyExists),
            ]
            for trap in traps {
                let folder = directory[trap.name]
                for path in ["", "/real", trap.link == "x/y" ? "/x" : "/real"] {
                    _ = mkdir(folder.string + path, 0o755)
                }
                #expect(symlink(trap.target, folder.appending(trap.link).string) == 0)
                let error = await expectArchiveFailure(trap.code) {
                    try await archive.extract(to: folder, walking: walking)
                }
                #expect(error?.entry != nil, "\(trap)")
                #expect(directory.contents(directory["outside/victim"]) == [42], "\(trap)")
                #expect(try ArchiveFolder(directory["outside"]).sources.map(\.path) == ["victim"], "\(trap)")
            }
            // Replacing a link replaces the link.
            try await archive.extract(
                [archive["victim"]!], to: directory["file"], replacing: true, walking: walking)
            #expect(directory.contents(directory["file/victim"]) == [2])
            #expect(directory.contents(directory["outside/victim"]) == [42])
        }
    }

    /// Paths are bytes: what looks the same, and what is one character with the slash in front of it, are others.
    @Test(arguments: [false, true])
    func pathsThatLookAlikeAreDifferent(walking: Bool) async throws {
        let paths = ["e\u{301}/x", "\u{E9}/x", "a/\u{301}b/c"]
        let sources = paths.enumerated().map { ArchiveSource($1, bytes: [UInt8($0)]) }
        try await withStorageQueue { queue in
            try await ArchiveWriter(on: queue, codec: nil).write(sources, to: directory["archive"])
            let archive = try await StorageArchive.open(directory["archive"], on: queue)
            try await archive.extract(to: directory["out"], walking: walking)
            for (index, path) in paths.enumerated() {
                #expect(directory.contents(directory["out"].appending(path)) == [UInt8(index)])
            }
        }
    }

    @Test(arguments: [false, true])
    func theFolderItselfMayBeALink(walking: Bool) async throws {
        _ = mkdir(directory["real"].string, 0o755)
        #expect(symlink("real", directory["link"].string) == 0)
        try await withStorageQueue { queue in
            let archive = try await open(queue, ["a/b": [1]])
            try await archive.extract(to: directory["link"], walking: walking)
            #expect(directory.contents(directory["real/a/b"]) == [1])
        }
    }

    @Test(arguments: [ENOSYS, EPERM])
    func extractionWorksWhereOpenat2IsRefused(_ code: Int32) async throws {
        setenv("PENSTOCK_TEST_FOLDER", directory.path.string, 1)
        setenv("PENSTOCK_TEST_ERRNO", String(code), 1)
        let result = await #expect(processExitsWith: .success) {
            #expect(test_refuse_openat2(atoi(getenv("PENSTOCK_TEST_ERRNO"))) == 0)
            let folder = FilePath(String(cString: getenv("PENSTOCK_TEST_FOLDER")))
            // The threads open files by themselves.
            try await withStorageQueue(Driver.threads.configuration()) { queue in
                let path = folder.appending("archive")
                try await ArchiveWriter(on: queue, codec: nil).write([ArchiveSource("x/y/z", bytes: [7])], to: path)
                let archive = try await StorageArchive.open(path, on: queue)
                try await archive.extract(to: folder.appending("out"))
            }
        }
        try #require(result != nil)
        #expect(directory.contents(directory["out/x/y/z"]) == [7])
    }

    @Test func filesAreNotReplacedUnasked() async throws {
        try await withStorageQueue { queue in
            let archive = try await open(queue, ["a/b": [1], "c": [2]])
            try await archive.extract(to: directory["out"])
            let error = await expectArchiveFailure(.alreadyExists) { try await archive.extract(to: directory["out"]) }
            #expect(error?.entry == "a/b")
            directory.make("out/c", [9, 9, 9])
            try await archive.extract(to: directory["out"], replacing: true)
            #expect(directory.contents(directory["out/c"]) == [2])
            // A folder is not removed, whatever is asked.
            _ = mkdir(directory["other"].string, 0o755)
            _ = mkdir(directory["other/c"].string, 0o755)
            await expectArchiveFailure(.storage) { try await archive.extract(to: directory["other"], replacing: true) }
            // Nor is a file taken for a folder.
            _ = mkdir(directory["third"].string, 0o755)
            directory.make("third/a", [])
            await expectArchiveFailure(.unsafeDestination) { try await archive.extract(to: directory["third"]) }
        }
    }

    @Test func aFileThatCannotBeReadIsNotLeftBehindInParts() async throws {
        try await withStorageQueue { queue in
            let archive = try await open(queue, ["a": content(100, 1), "b": content(5 << 20, 2)])
            // The last chunk of `b`.
            let bytes = directory.contents(directory["archive"])
            let table = try ArchiveTable(archive: bytes)
            let chunk = table[chunk: table.header.chunkCount - 1]
            let file = try FileDescriptor.open(directory["archive"], .readWrite)
            try file.writeAll(toAbsoluteOffset: Int64(chunk.offset), [bytes[Int(chunk.offset)] ^ 1])
            try file.close()
            await expectArchiveFailure(.checksumMismatch) { try await archive.extract(to: directory["out"]) }
            #expect(try ArchiveFolder(directory["out"]).sources.map(\.path) == ["a"])
        }
    }

    @Test func whatIsToBeReplacedStaysUntilTheNewFileIsComplete() async throws {
        try await withStorageQueue { queue in
            let archive = try await open(queue, ["a": content(5 << 20, 2), "b": [1]])
            directory.make("out/a", [1, 2, 3])
            // The last chunk of `a`.
            let bytes = directory.contents(directory["archive"])
            let table = try ArchiveTable(archive: bytes)
            let chunk = table[chunk: table.header.chunkCount - 2]
            let file = try FileDescriptor.open(directory["archive"], .readWrite)
            try file.writeAll(toAbsoluteOffset: Int64(chunk.offset), [bytes[Int(chunk.offset)] ^ 1])
            await expectArchiveFailure(.checksumMismatch) {
                try await archive.extract(to: directory["out"], replacing: true)
            }
            try #require(try ArchiveFolder(directory["out"]).sources.map(\.path) == ["a"])
            #expect(directory.contents(directory["out/a"]) == [1, 2, 3])
            try file.writeAll(toAbsoluteOffset: Int64(chunk.offset), [bytes[Int(chunk.offset)]])
            try file.close()
            try await archive.extract(to: directory["out"], replacing: true)
            #expect(directory.contents(directory["out/a"]) == content(5 << 20, 2))
            #expect(try ArchiveFolder(directory["out"]).sources.map(\.path) == ["a", "b"])
        }
    }

    @Test func hostilePathsNeverReachTheFolder() async throws {
        // Such a table cannot be opened; see HostileTables.
        var image = TableImage([.init(path: "aa/evil", chunks: [4])])
        image.put(Array("../evil".utf8), at: image.path(0))
        directory.make("evil.penstock", image.bytes)
        try await withStorageQueue { queue in
            _ = await expectArchiveFailure(.invalidPath) {
                try await StorageArchive.open(directory["evil.penstock"], on: queue)
            }
        }
    }
}

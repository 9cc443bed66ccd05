import CTestShims
import Glibc
import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// An archive is there complete, or not at all.
@Suite(.timeLimit(.minutes(10))) struct AtomicCreation {
    private let directory = TemporaryDirectory()
    private static let sources = (0..<64).map { ArchiveSource("file \($0)", bytes: content(300_000, $0)) }

    @Test func killedPackLeavesNothingUnderTheFinalName() async throws {
        let old = [UInt8]("what was there before".utf8)
        directory.make("replaced", old)
        for name in ["fresh", "replaced"] {
            setenv("PENSTOCK_TEST_ARCHIVE", directory[name].string, 1)
            let result = await #expect(processExitsWith: .signal(SIGKILL)) {
                let path = FilePath(String(cString: getenv("PENSTOCK_TEST_ARCHIVE")))
                try await withStorageQueue { queue in
                    _ = try await ArchiveWriter(on: queue, codec: Zstd(level: 1)).write(
                        AtomicCreation.sources, to: path
                    ) {
                        // More than what is collected before it is written.
                        if $0.bytes > 8 << 20 { kill(getpid(), SIGKILL) }
                    }
                }
            }
            #expect(result != nil)
        }
        // Not even under another name, where the file system has files without one.
        #expect(directory.names == ["replaced"])
        #expect(directory.contents(directory["replaced"]) == old)
    }

    @Test func cancelledPackLeavesNothing() async throws {
        try await withStorageQueue { queue in
            let path = directory["archive"]
            let (started, startedFeed) = AsyncStream.makeStream(of: Void.self)
            let task = Task {
                try await ArchiveWriter(on: queue, codec: Zstd(level: 1)).write(Self.sources, to: path) { _ in
                    startedFeed.yield()
                }
            }
            for await _ in started { break }
            task.cancel()
            await expectArchiveFailure(.cancelled) { try await task.value }
            #expect(directory.names == [])
        }
    }

    @Test func whereEveryFileMustHaveANameTheDraftIsRemoved() async throws {
        try await withStorageQueue { queue in
            let path = directory["archive"]
            for name in ["once", "again"] {
                let output = try await ArchiveOutput(path, on: queue, mayBeUnnamed: false)
                #expect(directory.names.count == (name == "once" ? 1 : 2), "\(directory.names)")
                #expect(directory.names.contains { $0.hasSuffix(".partial") })
                let (header, table) = TableBuilder().finished(at: output.position)
                try await output.finish(table: table, header: header.encoded())
                let archive = try await StorageArchive.open(path, on: queue)
                #expect(archive.entries.isEmpty && directory.names == ["archive"])
            }
            let output = try await ArchiveOutput(path, on: queue, mayBeUnnamed: false)
            output.abandon()
            #expect(directory.names == ["archive"])
        }
    }

    @Test func withoutProcTheDraftHasAName() async throws {
        try await withStorageQueue { queue in
            let output = try await ArchiveOutput(directory["archive"], on: queue, descriptors: directory["no proc"])
            #expect(directory.names.count == 1 && directory.names[0].hasSuffix(".partial"))
            let (header, table) = TableBuilder().finished(at: output.position)
            try await output.finish(table: table, header: header.encoded())
            #expect(directory.names == ["archive"])
        }
    }

    @Test func draftsInFoldersOfAnyNameAreRemoved() async throws {
        // Not UTF-8, and so no string.
        var name = directory.path.withPlatformString { Array(UnsafeBufferPointer(start: $0, count: strlen($0))) }
        name += [CChar(UInt8(ascii: "/")), CChar(bitPattern: 0xFF), 0]
        let folder = name.withUnsafeBufferPointer { FilePath(platformString: $0.baseAddress!) }
        #expect(folder.withPlatformString { mkdir($0, 0o755) } == 0)
        try await withStorageQueue(Driver.ioUring.configuration { $0.hostMemoryLimit = 2 << 20 }) { queue in
            let all = try await queue.allocate(byteCount: 2 << 20)
            let task = Task {
                _ = try await ArchiveOutput(folder.appending("archive"), on: queue, mayBeUnnamed: false)
            }
            // It waits for memory when its draft is there.
            while try ArchiveFolder(folder).sources.isEmpty { await Task.yield() }
            task.cancel()
            await expectFailure(.cancelled) { try await task.value }
            #expect(try ArchiveFolder(folder).sources.isEmpty)
            withExtendedLifetime(all) {}
        }
    }

    @Test func anArchiveIsReplacedAtOnce() async throws {
        try await withStorageQueue { queue in
            let path = directory["archive"]
            let writer = ArchiveWriter(on: queue, codec: LZ4())
            try await writer.write([ArchiveSource("old", bytes: [1])], to: path)
            let old = try await StorageArchive.open(path, on: queue)
            try await writer.write([ArchiveSource("new", bytes: [2])], to: path)
            let new = try await StorageArchive.open(path, on: queue)
            #expect(try await old.files() == ["old": [1]])
            #expect(try await new.files() == ["new": [2]])
            #expect(directory.names == ["archive"])
        }
    }

    @Test func aFullDiskIsATypedErrorAndLeavesNothing() async throws {
        let mount = directory["full"]
        #expect(mkdir(mount.string, 0o755) == 0)
        guard test_mount_tmpfs(mount.string, 4 << 20) == 0 else {
            Issue.record("no tmpfs can be mounted")
            return
        }
        defer { test_unmount(mount.string) }
        try await withStorageQueue { queue in
            let error = await expectArchiveFailure(.storage) {
                try await ArchiveWriter(on: queue, codec: nil).write(Self.sources, to: mount.appending("archive"))
            }
            #expect((error?.underlying as? StorageError)?.code == .noSpace)
            #expect(error?.file == mount.appending("archive"))
            let left = try ArchiveFolder(mount).sources
            #expect(left.isEmpty)
        }
    }

    @Test func whatCannotBeMadeIsATypedError() async throws {
        try await withStorageQueue { queue in
            let writer = ArchiveWriter(on: queue, codec: nil)
            let one = [ArchiveSource("a", bytes: [1])]
            await expectArchiveFailure(.storage) { try await writer.write(one, to: directory["no/such/folder"]) }
            await expectArchiveFailure(.storage) { try await writer.write(one, to: "/") }
            // A folder of that name.
            _ = mkdir(directory["folder"].string, 0o755)
            await expectArchiveFailure(.storage) { try await writer.write(one, to: directory["folder"]) }
            #expect(directory.names == ["folder"])
            for path in ["", "/a", "../a", "a//b", "a/."] {
                await expectArchiveFailure(.invalidPath) {
                    try await writer.write([ArchiveSource(path, bytes: [])], to: directory["a"])
                }
            }
            await expectArchiveFailure(.duplicatePath) { try await writer.write(one + one, to: directory["a"]) }
            await expectArchiveFailure(.conflictingPaths) {
                try await writer.write(one + [ArchiveSource("a/b", bytes: [])], to: directory["a"])
            }
            for size in [0, 1, 4095, 32 << 20] {
                await expectArchiveFailure(.limitExceeded) {
                    try await ArchiveWriter(on: queue, codec: nil, chunkSize: size).write(one, to: directory["a"])
                }
            }
            #expect(directory.names == ["folder"])
        }
    }

    @Test func sourcesThatChangeAreErrors() async throws {
        directory.make("file", content(200_000, 1))
        try await withStorageQueue { queue in
            let writer = ArchiveWriter(on: queue, codec: Zstd(level: 1), chunkSize: 65_536)
            for size in [0, 1, 199_999, 200_001, 1 << 30] as [UInt64] {
                let source = ArchiveSource("a", file: directory["file"], size: size)
                let error = await expectArchiveFailure(.sourceChanged) {
                    try await writer.write([source], to: directory["archive"])
                }
                #expect(error?.entry == "a" && error?.file == directory["file"])
            }
            await expectArchiveFailure(.storage) {
                try await writer.write(
                    [ArchiveSource("a", file: directory["gone"], size: 1)], to: directory["archive"])
            }
            #expect(directory.names == ["file"])
        }
    }

    @Test func linksAndSpecialFilesAreSkippedAndCounted() async throws {
        directory.make("folder/file", [1, 2, 3])
        directory.make("folder/archive", [9])
        #expect(symlink("file", directory["folder/link"].string) == 0)
        #expect(symlink("/", directory["folder/root"].string) == 0)
        #expect(mkfifo(directory["folder/fifo"].string, 0o600) == 0)
        directory.make("folder/b\u{7F}", [])
        let folder = try ArchiveFolder(directory["folder"], excluding: [directory["folder/archive"]])
        #expect(folder.sources.map(\.path) == ["b\u{7F}", "file"])
        #expect(folder.skipped == [.symbolicLink: 2, .special: 1, .excluded: 1])
        let name = Array("\(directory["folder"].string)/\u{61}".utf8CString.dropLast()) + [CChar(bitPattern: 0xFF), 0]
        let descriptor = open(name, O_WRONLY | O_CREAT, 0o600)
        #expect(descriptor >= 0)
        close(descriptor)
        #expect(try ArchiveFolder(directory["folder"]).skipped[.notUTF8] == 1)
        #expect(throws: ArchiveError.self) { try ArchiveFolder(directory["missing"]) }
    }
}

import CTestShims
import Glibc
import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// A folder is packed as it is, or not at all.
@Suite(.timeLimit(.minutes(10))) struct Folders {
    private let directory = TemporaryDirectory()

    @Test func aFolderThatCannotBeReadToItsEndIsATypedError() throws {
        directory.make("file", [1])
        let stream = try #require(opendir(directory.path.string))
        defer { closedir(stream) }
        // Another file behind the folder's descriptor: reading on is refused, as by a disk that fails.
        let file = open(directory["file"].string, O_RDONLY)
        #expect(dup2(file, dirfd(stream)) >= 0)
        close(file)
        let error = #expect(throws: ArchiveError.self) { try ArchiveFolder.nextEntry(of: stream, directory.path) }
        #expect(error?.code == .storage && error?.file == directory.path)
        #expect((error?.underlying as? StorageError)?.errno == .notDirectory)
    }

    @Test func allThatIsExcludedIsLeftOut() async throws {
        directory.make("folder/file", [1])
        let (base, patch) = (directory["folder/base"], directory["folder/patch"])
        try await withStorageQueue { queue in
            let writer = ArchiveWriter(on: queue, codec: nil)
            let old = try ArchiveFolder(directory["folder"])
            try await writer.write(old.sources, to: base)
            let below = try await StorageArchive.open(base, on: queue)
            let folder = try ArchiveFolder(directory["folder"], excluding: [patch, base, directory["nowhere"]])
            #expect(folder.sources.map(\.path) == ["file"] && folder.skipped == [.excluded: 1])
            let summary = try await writer.write(folder.sources, to: patch, over: below)
            #expect(summary.entries == 0 && summary.deletions == 0)
        }
    }

    @Test func sizesBeyondAllNumbersAreATypedError() async throws {
        let mount = directory["huge"]
        #expect(mkdir(mount.string, 0o755) == 0)
        guard test_mount_tmpfs(mount.string, 1 << 20) == 0 else {
            Issue.record("no tmpfs can be mounted")
            return
        }
        defer { test_unmount(mount.string) }
        for name in ["a", "b", "c"] {
            let file = try FileDescriptor.open(
                mount.appending(name), .writeOnly, options: .create, permissions: .ownerReadWrite)
            try file.resize(to: .max)
            try file.close()
        }
        let folder = try ArchiveFolder(mount)
        #expect(folder.sources.map(\.size) == [UInt64](repeating: UInt64(Int64.max), count: 3))
        #expect(folder.sources.sum(\.size) == .max)
        try await withStorageQueue { queue in
            // Known before anything is read.
            _ = await expectArchiveFailure(.limitExceeded) {
                try await ArchiveWriter(on: queue, codec: nil).write(folder.sources, to: directory["archive"])
            }
        }
    }
}

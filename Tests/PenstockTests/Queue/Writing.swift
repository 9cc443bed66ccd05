import CTestShims
import Penstock
import SystemPackage
import TestSupport
import Testing

/// Making room, making durable, and running out of it.
@Suite(.timeLimit(.minutes(10))) struct Writing {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases)
    func sizeFollowsTruncateAndPreallocate(_ driver: Driver) async throws {
        let path = directory["file"]
        try await withStorageQueue(driver.configuration()) { queue in
            let file = try await queue.open(path, [.readWrite, .create])
            try await file.preallocate(0..<100_000)
            #expect(try await file.size() == 100_000)
            try await file.preallocate(50_000..<60_000)
            try await file.preallocate(7..<7)
            #expect(try await file.size() == 100_000)
            try await file.truncate(to: 10)
            #expect(try await file.size() == 10)
            try await file.truncate(to: 5 << 32)
            #expect(try await file.size() == 5 << 32)
            try await file.truncate(to: 0)
            try await file.sync(.data)
            try await file.sync(.full)
            #expect(try await file.size() == 0)
        }
    }

    /// More control operations at once than there are slots for them, among reads that need slots too.
    @Test(arguments: Driver.allCases)
    func manyControlOperationsAndReadsShareFewSlots(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        try await withStorageQueue(driver.ringOnly { $0.requestsInFlight = 2 }) { queue in
            let file = try await queue.open(path, .readWrite)
            let ended = Shared(0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<400 {
                    group.addTask {
                        switch index % 4 {
                        case 0: try await file.sync()
                        case 1: try await file.preallocate(0..<4096)
                        case 2: #expect(try await queue.load(path).count == 1 << 20)
                        default: #expect(try await queue.read(from: file, 0..<5000).count == 5000)
                        }
                        ended.change { $0 += 1 }
                    }
                }
                try await group.waitForAll()
            }
            #expect(ended.now == 400)
        }
    }

    @Test(arguments: Driver.allCases, StorageFile.Caching.allCases)
    func fullDiskIsNoSpaceAndTheQueueGoesOn(_ driver: Driver, _ caching: StorageFile.Caching) async throws {
        let mounted = test_mount_tmpfs(directory.path.string, 4 << 20)
        // As root this works; where it does not, the test has not run, and says so.
        try #require(mounted == 0, "mounting a tmpfs failed with errno \(-mounted)")
        defer { _ = test_unmount(directory.path.string) }
        try await withStorageQueue(driver.configuration { $0.pieceSize = 64 << 10 }) { queue in
            let file = try await queue.open(directory["file"], [.readWrite, .create], caching: caching)
            let buffer = try await queue.allocate(byteCount: 8 << 20)
            FilePattern().fill(buffer[...], at: 0)
            let error = await expectFailure(.noSpace) { try await queue.write(buffer[...], to: file) }
            #expect(error?.length == 8 << 20 && error?.errno == .noSpace)
            await expectFailure(.noSpace) { try await file.preallocate(0..<64 << 20) }
            try await file.truncate(to: 0)
            #expect(try await queue.write(buffer[..<(2 << 20)], to: file) == 2 << 20)
            let back = try await queue.read(from: file)
            #expect(back.count == 2 << 20 && FilePattern().matches(back))
            let results = await queue.perform(
                (0..<8).map { .write(buffer[$0 << 20..<($0 + 1) << 20], to: file, at: UInt64($0 << 20)) })
            #expect(results.contains { $0.code == .noSpace } && results.contains { $0.value == 1 << 20 })
            #expect(results.allSatisfy { $0.code == .noSpace || $0.value == 1 << 20 })
        }
    }

    /// File systems without `RWF_DONTCACHE` or `O_DIRECT`, and more than one piece that finds out.
    @Test(arguments: Driver.allCases, StorageFile.Caching.allCases)
    func fileSystemThatRefusesAFastPathIsReadAllTheSame(_ driver: Driver, _ caching: StorageFile.Caching) async throws {
        let path = FilePath("/dev/shm/penstock-test-\(UInt64.random(in: 0 ... .max))")
        try await withStorageQueue(driver.ringOnly { $0.pieceSize = 4096 }) { queue in
            let file = try await queue.open(path, [.readWrite, .create, .exclusive], caching: caching)
            defer { _ = test_remove_tree(path.string) }
            let buffer = try await queue.allocate(byteCount: 1 << 20)
            FilePattern().fill(buffer[...], at: 0)
            #expect(try await queue.write(buffer[...], to: file) == 1 << 20)
            let back = try await queue.read(from: file)
            #expect(back.count == 1 << 20 && FilePattern().matches(back))
            let process = try await queue.open("/proc/self/status", caching: caching)
            let count = try await queue.read(from: process, into: buffer)
            #expect(count > 100)
        }
    }
}

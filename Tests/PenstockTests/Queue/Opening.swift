import CTestShims
import Glibc
import Penstock
import SystemPackage
import TestSupport
import Testing

/// Opening: what may be streamed, and a typed error for everything else.
@Suite(.timeLimit(.minutes(10))) struct Opening {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases)
    func whatCannotBeStreamedIsATypedError(_ driver: Driver) async throws {
        let fifo = directory["fifo"]
        #expect(fifo.withPlatformString { mkfifo($0, 0o600) } == 0)
        let file = directory.make("file", count: 10)
        let loop = directory["loop"]
        #expect(symlink("loop", loop.string) == 0)
        let cases: [(FilePath, StorageError.Code)] = [
            (directory.path, .isDirectory),
            (directory["missing"], .notFound),
            (file.appending("below"), .notFound),
            (loop, .notFound),
            (fifo, .unsupportedFileType),
            ("/dev/null", .unsupportedFileType),
            (FilePath("/" + String(repeating: "x", count: 300)), .notFound),
        ]
        for inlineLimit in [0, 1 << 20] {
            try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
                for (path, code) in cases {
                    let error = await expectFailure(code) { try await queue.open(path) }
                    #expect(error?.path == path && error?.operation == .open)
                    let loading = await expectFailure(code) { try await queue.load(path) }
                    #expect(loading?.path == path && loading?.operation == .load)
                }
                await expectFailure(.invalidArgument) { try await queue.open("") }
                await expectFailure(.invalidArgument) { try await queue.open(file, []) }
                await expectFailure(.invalidArgument) { try await queue.open(file, .create) }
                await expectFailure(.isDirectory) { try await queue.open(directory.path, .readWrite) }
                await expectFailure(.isDirectory) { try await queue.open(directory.path, [.readWrite, .create]) }
                await expectFailure(.unsupportedFileType) { try await queue.open(fifo, .readWrite) }
                // A FIFO that nobody reads refuses a writer with ENXIO, which is no fault of any device.
                await expectFailure(.unsupportedFileType) { try await queue.open(fifo, .writeOnly) }
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func creationFollowsItsOptions(_ driver: Driver) async throws {
        let path = directory["new"]
        try await withStorageQueue(driver.configuration()) { queue in
            await expectFailure(.notFound) { try await queue.open(path, .readWrite) }
            let buffer = try await queue.allocate(byteCount: 100)
            let file = try await queue.open(path, [.readWrite, .create, .exclusive])
            try await queue.write(buffer[...], to: file)
            await expectFailure(.alreadyExists) { try await queue.open(path, [.readWrite, .create, .exclusive]) }
            let again = try await queue.open(path, [.readWrite, .create])
            #expect(try await again.size() == 100)
            let empty = try await queue.open(path, [.writeOnly, .truncate])
            #expect(try await empty.size() == 0)
            #expect(try await file.size() == 0)
        }
    }

    @Test(arguments: Driver.allCases)
    func whatTheAccessDoesNotAllowIsRefusedWithTheRequestInTheError(_ driver: Driver) async throws {
        let path = directory.make("file", count: 20_000)
        try await withStorageQueue(driver.configuration()) { queue in
            let buffer = try await queue.allocate(byteCount: 100)
            let (readOnly, writeOnly) = (try await queue.open(path), try await queue.open(path, .writeOnly))
            let error = await expectFailure(.badDescriptor) {
                try await queue.read(from: writeOnly, at: 12345, into: buffer[...])
            }
            #expect(error?.errno == .badFileDescriptor && error?.offset == 12345 && error?.length == 100)
            #expect(error?.path == path && error?.operation == .read)
            await expectFailure(.badDescriptor) { try await queue.write(buffer[...], to: readOnly) }
            // Not asked of the library but of the kernel, whose word it is.
            for attempt in [{ try await readOnly.truncate(to: 1) }, { try await readOnly.preallocate(0..<9) }] {
                do {
                    try await attempt()
                    Issue.record("changed a read-only file")
                } catch let error as StorageError {
                    #expect(error.code == .badDescriptor || error.code == .invalidArgument, "\(error)")
                }
            }
            #expect(try await readOnly.size() == 20_000)
        }
    }

    @Test(arguments: Driver.allCases)
    func fileOfAnotherQueueIsForeignButItsBuffersAreMemoryLikeAny(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        try await withStorageQueue(driver.ringOnly()) { queue in
            try await withStorageQueue(driver.ringOnly()) { other in
                let (file, foreign) = (try await queue.open(path), try await other.open(path))
                let buffer = try await other.allocate(byteCount: 1 << 20)
                await expectFailure(.foreignFile) { try await queue.read(from: foreign, into: buffer) }
                #expect(try await queue.read(from: file, into: buffer) == 1 << 20)
                #expect(FilePattern().matches(buffer))
                dropFromCache(path)
                let direct = try await queue.open(path, caching: .direct)
                #expect(try await queue.read(from: direct, into: buffer) == 1 << 20)
                #expect(FilePattern().matches(buffer))
            }
        }
    }
}

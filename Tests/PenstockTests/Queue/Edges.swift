import Penstock
import SystemPackage
import TestSupport
import Testing

/// Empty, past the end, too large, out of range: a count or a typed error, never a trap.
@Suite(.timeLimit(.minutes(10))) struct Edges {
    private let directory = TemporaryDirectory()

    /// The peer's own cases, as plain facts.
    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func smallFilesReadAsThePeersTestsSay(_ driver: Driver, _ inlineLimit: Int) async throws {
        let (small, five) = (directory.make("fifteen", count: 15), directory.make("five", count: 5))
        let three = directory.make("thirty-six", count: 36)
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            let whole = try await queue.read(from: try await queue.open(small))
            #expect(whole.bytes == FilePattern().bytes(0..<15))
            let buffer = try await queue.allocate(byteCount: 100)
            #expect(try await queue.read(from: try await queue.open(five), into: buffer[0..<100]) == 5)
            let file = try await queue.open(three)
            for offset in [0, 10, 26] {
                #expect(try await queue.read(from: file, at: UInt64(offset), into: buffer[0..<10]) == 10)
                #expect(FilePattern().matches(buffer[0..<10], at: UInt64(offset)))
            }
        }
    }

    @Test(arguments: Driver.allCases, StorageFile.Caching.allCases)
    func readsAtAndPastTheEndStopThere(_ driver: Driver, _ caching: StorageFile.Caching) async throws {
        for size in [0, 1, 511, 512, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1] {
            let path = directory.make("file", count: size)
            for inlineLimit in [0, 1 << 20] {
                let configuration = driver.configuration {
                    $0.inlineLimit = inlineLimit
                    $0.pieceSize = 512 << 10
                }
                try await withStorageQueue(configuration) { queue in
                    let file = try await queue.open(path, caching: caching)
                    let buffer = try await queue.allocate(byteCount: 2 << 20)
                    FilePattern(99).fill(buffer[...], at: 0)
                    #expect(try await queue.read(from: file, at: 0, into: buffer) == size)
                    #expect(FilePattern().matches(buffer[..<size], at: 0))
                    // Direct I/O moves blocks: what lies in the slice behind the count is then unspecified.
                    let untouched = caching == .direct ? buffer.count : size
                    #expect(
                        FilePattern(99).matches(buffer[untouched...], at: UInt64(untouched)),
                        "touched what is not there")
                    for past in [0, 1, 4096, 1 << 40] {
                        let offset = UInt64(size + past)
                        #expect(try await queue.read(from: file, at: offset, into: buffer) == 0, "\(past) past \(size)")
                    }
                    if size > 0 {
                        #expect(try await queue.read(from: file, at: UInt64(size - 1), into: buffer) == 1)
                        #expect(FilePattern().matches(buffer[..<1], at: UInt64(size - 1)))
                    }
                }
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func emptyRequestsMoveNothingAndAreStillChecked(_ driver: Driver) async throws {
        let path = directory.make("file", count: 100)
        try await withStorageQueue(driver.configuration()) { queue in
            let file = try await queue.open(path, .readWrite)
            let buffer = try await queue.allocate(byteCount: 0)
            #expect(buffer.count == 0)
            #expect(try await queue.read(from: file, at: 5, into: buffer) == 0)
            #expect(try await queue.write(buffer[...], to: file, at: 500) == 0)
            #expect(try await file.size() == 100)
            #expect(try await queue.read(from: file, 7..<7).count == 0)
            var span = MutableRawSpan()
            let count = try await queue.read(from: file, into: &span)
            #expect(count == 0)
            #expect(try await queue.write(RawSpan(), to: file) == 0)
            #expect(await queue.perform([]).isEmpty)
            #expect(await queue.perform([.read(from: file, into: buffer[0..<0])])[0].value == 0)
            try await file.close()
            await expectFailure(.fileClosed) { try await queue.read(from: file, into: buffer) }
        }
    }

    @Test(arguments: Driver.allCases)
    func offsetsAndLengthsThatDoNotFitAFileAreInvalid(_ driver: Driver) async throws {
        let path = directory.make("file", count: 100)
        try await withStorageQueue(driver.configuration()) { queue in
            let file = try await queue.open(path, .readWrite)
            let buffer = try await queue.allocate(byteCount: 4096)
            for offset: UInt64 in [.max, .max - 4095, 1 << 63, (1 << 63) - 4095] {
                let error = await expectFailure(.invalidRange) {
                    try await queue.read(from: file, at: offset, into: buffer[...])
                }
                #expect(error?.offset == offset && error?.length == 4096 && error?.path == path)
                await expectFailure(.invalidRange) { try await queue.write(buffer[...], to: file, at: offset) }
                #expect(
                    await queue.perform([.read(from: file, at: offset, into: buffer[...])])[0].code == .invalidRange)
            }
            // The last place there is.
            #expect(try await queue.read(from: file, at: UInt64(Int64.max) - 4096, into: buffer) == 0)
            await expectFailure(.fileTooLarge) {
                try await queue.write(buffer[...], to: file, at: UInt64(Int64.max) - 4096)
            }
            await expectFailure(.invalidRange) { try await queue.read(from: file, 0..<UInt64.max) }
            await expectFailure(.memoryLimit) { try await queue.read(from: file, 0..<1 << 62) }
            await expectFailure(.invalidRange) { try await file.truncate(to: .max) }
            await expectFailure(.invalidRange) { try await file.preallocate(0..<UInt64.max) }
        }
    }

    @Test(arguments: Driver.allCases)
    func slicesOutsideTheirBufferAreErrorsAndNotTraps(_ driver: Driver) async throws {
        let path = directory.make("file", count: 100)
        try await withStorageQueue(driver.configuration()) { queue in
            let file = try await queue.open(path, .readWrite)
            let buffer = try await queue.allocate(byteCount: 100)
            // The block behind the buffer is larger than the buffer: still not the caller's.
            let outside = [
                buffer[0..<101], buffer[100..<101], buffer[-1..<10], buffer[..<(-3)], buffer[..<4096], buffer[200...],
                buffer[Int.min..<Int.min + 5], buffer[(Int.max - 5)..<Int.max],
            ]
            for slice in outside where slice.range != 200..<200 {
                await expectFailure(.invalidRange) { try await queue.read(from: file, into: slice) }
                await expectFailure(.invalidRange) { try await queue.write(slice, to: file) }
            }
            let results = await queue.perform(outside.prefix(3).map { .read(from: file, into: $0) })
            #expect(results.allSatisfy { $0.code == .invalidRange })
            for await completion in queue.completions(of: outside.prefix(3).map { .read(from: file, into: $0) }) {
                #expect(completion.result.code == .invalidRange)
            }
            await expectFailure(.invalidArgument) { try await queue.allocate(byteCount: -1) }
            await expectFailure(.invalidArgument) { try await queue.allocate(byteCount: .min) }
            await expectFailure(.memoryLimit) { try await queue.allocate(byteCount: .max) }
        }
    }
}

import Glibc
import Penstock
import SystemPackage
import TestSupport
import Testing

/// A whole file in one call, whatever its size says.
@Suite(.timeLimit(.minutes(10))) struct Loads {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases, [0, 64 << 10, 1 << 20])
    func everySizeIsLoadedWhole(_ driver: Driver, _ inlineLimit: Int) async throws {
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            for size in [
                0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1 << 20, 2 << 20, (2 << 20) + 1, 4 << 20, 5_000_000,
            ] {
                let path = directory.make("file", count: size)
                for isCold in [false, true] {
                    if isCold { dropFromCache(path) }
                    let buffer = try await queue.load(path)
                    #expect(buffer.count == size && FilePattern().matches(buffer), "\(size)")
                    var steps: [UInt64] = []
                    let again = try await queue.load(path) { done, total in
                        #expect(total == UInt64(size))
                        steps.append(done)
                    }
                    #expect(again.count == size && FilePattern().matches(again), "\(size)")
                    #expect(steps == steps.sorted() && steps.last == (size == 0 ? nil : UInt64(size)))
                }
            }
        }
    }

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func filesWhoseSizeLiesAreReadToTheirEnd(_ driver: Driver, _ inlineLimit: Int) async throws {
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            for path in [
                "/proc/version", "/proc/cpuinfo", "/proc/filesystems", "/sys/kernel/mm/transparent_hugepage/enabled",
            ] {
                let expected = readByHand(FilePath(path))
                #expect(try await queue.load(FilePath(path)).bytes == expected, "\(path)")
                #expect(try await queue.load(FilePath(path)) { _, _ in }.bytes == expected, "\(path)")
            }
            // Many megabytes, which the kernel hands out a page at a time.
            let symbols = try await queue.load("/proc/kallsyms")
            #expect(symbols.count > 1 << 20 && symbols.bytes == readByHand("/proc/kallsyms"))
        }
    }

    private func readByHand(_ path: FilePath) -> [UInt8] {
        let descriptor = try! FileDescriptor.open(path, .readOnly)
        defer { try! descriptor.close() }
        var bytes: [UInt8] = []
        while true {
            let block = [UInt8](unsafeUninitializedCapacity: 1 << 16) { block, count in
                count = try! descriptor.read(into: UnsafeMutableRawBufferPointer(block))
            }
            if block.isEmpty { return bytes }
            bytes += block
        }
    }

    /// A file that fits the limit can be loaded, without a second buffer to find its end with.
    @Test(arguments: Driver.allCases)
    func fileAsLargeAsTheLimitFitsAndALargerOneIsAnError(_ driver: Driver) async throws {
        let configuration = driver.ringOnly { $0.hostMemoryLimit = 4 << 20 }
        let (fits, larger) = (directory.make("fits", count: 4 << 20), directory.make("larger", count: (4 << 20) + 1))
        try await withStorageQueue(configuration) { queue in
            for _ in 0..<3 {
                let buffer = try await queue.load(fits)
                #expect(FilePattern().matches(buffer) && buffer.count == 4 << 20)
                let error = await expectFailure(.memoryLimit) { try await queue.load(larger) }
                #expect(error?.path == larger)
                await expectFailure(.memoryLimit) { try await queue.load(larger) { _, _ in } }
            }
            let sparse = directory.makeSparse("sparse", size: 1 << 40)
            await expectFailure(.memoryLimit) { try await queue.load(sparse) }
        }
    }

    /// Loads hold one buffer each, so that they cannot wait for each other's memory for ever.
    @Test(arguments: Driver.allCases, [2 << 20, 3 << 20])
    func manyLoadsShareLittleMemory(_ driver: Driver, _ size: Int) async throws {
        let paths = (0..<8).map { directory.make("file\($0)", count: size, FilePattern(UInt64($0))) }
        try await withStorageQueue(driver.ringOnly { $0.hostMemoryLimit = 4 << 20 }) { queue in
            await withTaskGroup(of: Void.self) { group in
                for task in 0..<32 {
                    group.addTask {
                        do {
                            let buffer = try await queue.load(paths[task % 8])
                            #expect(FilePattern(UInt64(task % 8)).matches(buffer) && buffer.count == size)
                        } catch {
                            Issue.record(error)
                        }
                    }
                }
            }
        }
    }

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func batchOfLoadsHasAResultForEachPathInOrder(_ driver: Driver, _ inlineLimit: Int) async throws {
        let paths = (0..<200).map { index -> FilePath in
            index % 10 == 3
                ? directory["missing\(index)"]
                : directory.make("file\(index)", count: index * 100, FilePattern(UInt64(index)))
        }
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            let results = await queue.load(paths)
            #expect(results.count == 200)
            for (index, result) in results.enumerated() {
                if index % 10 == 3 {
                    #expect(result.code == .notFound)
                } else {
                    let buffer = try result.get()
                    #expect(buffer.count == index * 100 && FilePattern(UInt64(index)).matches(buffer))
                }
            }
            #expect(await queue.load([]).isEmpty)
        }
    }

    /// What is left is read; nothing is invented, nothing hangs, and nothing crashes.
    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func fileTruncatedWhileItIsReadEndsEarlier(_ driver: Driver, _ inlineLimit: Int) async throws {
        let size = 4 << 20
        let path = directory.make("file", count: size)
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            let changing = try await queue.open(path, .readWrite)
            for caching in StorageFile.Caching.allCases {
                let file = try await queue.open(path, caching: caching)
                let buffer = try await queue.allocate(byteCount: size)
                for round in 0..<8 {
                    directory.write(path, 0..<Int64(size))
                    if round % 2 == 0 { dropFromCache(path) }
                    let truncation = Task { try await changing.truncate(to: UInt64(size / 2 + 1234)) }
                    let (count, loaded) = (try await queue.read(from: file, into: buffer), try await queue.load(path))
                    try await truncation.value
                    for (buffer, count) in [(buffer, count), (loaded, loaded.count)] {
                        #expect(count <= size && count >= size / 2 + 1234)
                        #expect(FilePattern().matches(buffer[..<(size / 2 + 1234)], at: 0))
                        // Behind the cut a read may still see the file's old bytes, or zeros of a page that is going.
                    }
                }
            }
        }
    }

    @Test(arguments: Driver.allCases, [1 << 20, 3 << 20])
    func cancelledLoadsEndAndGiveTheirMemoryBack(_ driver: Driver, _ size: Int) async throws {
        let path = directory.make("file", count: size)
        try await withStorageQueue(driver.ringOnly { $0.hostMemoryLimit = 5 * size }) { queue in
            var random = seededOnce("cancelled loads")
            for _ in 0..<20 {
                dropFromCache(path)
                let tasks = (0..<32).map { _ in
                    Task { () -> Int? in
                        do throws(StorageError) {
                            let buffer = try await queue.load(path)
                            #expect(FilePattern().matches(buffer))
                            return buffer.count
                        } catch {
                            #expect(error.code == .cancelled)
                            return nil
                        }
                    }
                }
                for task in tasks where random.chance(70) {
                    if random.chance(50) { await Task.yield() }
                    task.cancel()
                }
                for task in tasks { if let count = await task.value { #expect(count == size) } }
            }
            #expect(await queue.statistics.memoryInUse == 0)
        }
    }
}

import CTestShims
import Glibc
import Penstock
import SystemPackage
import TestSupport
import Testing

/// What concerns a whole process (its environment, its limits, its counts) is tested in one of its own.
@Suite(.timeLimit(.minutes(10))) struct OwnProcess {
    /// How many entries a directory of `/proc/self` has.
    private static func count(_ directory: String) -> Int {
        guard let stream = opendir("/proc/self/" + directory) else { return -1 }
        defer { closedir(stream) }
        var count = 0
        while let entry = readdir(stream) {
            if withUnsafeBytes(of: entry.pointee.d_name, { $0[0] != UInt8(ascii: ".") }) { count += 1 }
        }
        return count
    }

    /// The number that the next descriptor will have.
    private static func nextDescriptor() -> UInt64 {
        let descriptor = dup(0)
        close(descriptor)
        return UInt64(descriptor)
    }

    /// Waits for the count to come down: a thread that has been joined may still be listed for a moment.
    private static func settles(_ directory: String, at most: Int) async -> Bool {
        for _ in 0..<100_000 {
            if count(directory) <= most { return true }
            await Task.yield()
        }
        return false
    }

    private static func exercise(_ driver: Driver, _ path: FilePath, dropped: Bool) async throws {
        let queue = try StorageQueue(driver.ringOnly())
        for caching in [StorageFile.Caching.buffered, .direct] {
            let file = try await queue.open(path, caching: caching)
            let buffer = try await queue.read(from: file)
            #expect(FilePattern().matches(buffer))
        }
        if !dropped { await queue.shutdown() }
    }

    @Test func queuesLeaveNoDescriptorThreadOrMemoryBehind() async {
        await #expect(processExitsWith: .success) {
            let directory = TemporaryDirectory()
            let path = directory.make("file", count: 100_000)
            // The first round starts what stays: the pool's threads, and the allocator's memory.
            for driver in Driver.allCases { try await OwnProcess.exercise(driver, path, dropped: false) }
            let (descriptors, threads) = (OwnProcess.count("fd"), OwnProcess.count("task"))
            let mappings = OwnProcess.mappedKilobytes()
            for round in 0..<100 {
                for driver in Driver.allCases {
                    try await OwnProcess.exercise(driver, path, dropped: round % 2 == 0)
                }
            }
            #expect(
                OwnProcess.count("fd") <= descriptors, "\(descriptors) descriptors became \(OwnProcess.count("fd"))")
            // The pool may meanwhile have grown to its size.
            let threadsSettled = await OwnProcess.settles("task", at: threads + 2)
            #expect(threadsSettled, "\(threads) threads became \(OwnProcess.count("task"))")
            // Two hundred queues of a slab each would be 400 MiB and more.
            let grown = OwnProcess.mappedKilobytes() - mappings
            #expect(grown < 100_000, "\(grown) KiB more")
        }
    }

    private static func mappedKilobytes() -> Int {
        let descriptor = try! FileDescriptor.open("/proc/self/statm", .readOnly)
        defer { try! descriptor.close() }
        var text = [UInt8](repeating: 0, count: 128)
        let count = try! text.withUnsafeMutableBytes { try descriptor.read(into: $0) }
        // The second number: resident pages.
        return Int(String(decoding: text[..<count], as: UTF8.self).split(separator: " ")[1])! * 4
    }

    @Test func filesLeaveNoDescriptorBehind() async {
        await #expect(processExitsWith: .success) {
            let directory = TemporaryDirectory()
            let path = directory.make("file", count: 100_000)
            for driver in Driver.allCases {
                let queue = try StorageQueue(driver.ringOnly())
                let before = OwnProcess.count("fd")
                for round in 0..<200 {
                    let file = try await queue.open(path, caching: round % 2 == 0 ? .direct : .buffered)
                    let buffer = try await queue.read(from: file, 0..<8192)
                    #expect(FilePattern().matches(buffer))
                    if round % 3 == 0 { try await file.close() }
                    let loaded = try await queue.load(path)
                    #expect(loaded.count == 100_000)
                    _ = try? await queue.open(directory.path)
                }
                // What was dropped is closed by the ring thread, which has had its turn when it answers.
                _ = await queue.statistics
                #expect(OwnProcess.count("fd") <= before, "\(before) became \(OwnProcess.count("fd"))")
                await queue.shutdown()
            }
        }
    }

    @Test func noDescriptorsLeftIsAnErrorAndNotTheEnd() async {
        await #expect(processExitsWith: .success) {
            // Dispatch traps when its timer thread finds no descriptor: let it have its own first.
            try await Task.sleep(for: .milliseconds(1))
            let directory = TemporaryDirectory()
            let path = directory.make("file", count: 100_000)
            for driver in Driver.allCases {
                for inlineLimit in [0, 1 << 20] {
                    let queue = try StorageQueue(driver.configuration { $0.inlineLimit = inlineLimit })
                    var files = [try await queue.open(path), try await queue.open(path, caching: .direct)]
                    #expect(test_limit_open_files(OwnProcess.nextDescriptor() + 4) == 0)
                    var failure: StorageError?
                    while failure == nil, files.count < 100 {
                        do throws(StorageError) { files.append(try await queue.open(path)) } catch { failure = error }
                    }
                    #expect(failure?.code == .tooManyOpenFiles && failure?.path == path, "\(failure as Any)")
                    do throws(StorageError) {
                        _ = try await queue.load(path)
                        Issue.record("loaded without a descriptor")
                    } catch {
                        #expect(error.code == .tooManyOpenFiles, "\(error)")
                    }
                    // The file whose direct descriptor cannot be had is read through the page cache.
                    for file in files.prefix(2) {
                        let buffer = try await queue.read(from: file)
                        #expect(buffer.count == 100_000 && FilePattern().matches(buffer))
                    }
                    // Closing must make room, also when there is none to close with.
                    for file in files { try await file.close() }
                    files = []
                    _ = await queue.statistics
                    let again = try await queue.load(path)
                    #expect(again.count == 100_000)
                    #expect(test_limit_open_files(10_000) == 0)
                    await queue.shutdown()
                }
            }
        }
    }

    @Test func queueThatFindsNoDescriptorsSaysSo() async {
        await #expect(processExitsWith: .success) {
            // Dispatch traps when its timer thread finds no descriptor: let it have its own first.
            try await Task.sleep(for: .milliseconds(1))
            #expect(test_limit_open_files(0) == 0)
            do throws(StorageError) {
                _ = try StorageQueue(Driver.ioUring.configuration())
                Issue.record("a ring without a descriptor")
            } catch {
                #expect(error.code == .unavailable && error.message.contains("ulimit -n"), "\(error)")
            }
            #expect(test_limit_open_files(10_000) == 0)
        }
    }

    @Test func environmentChoosesTheDriver() async {
        await #expect(processExitsWith: .success) {
            let expected: [(String, DriverKind)] = [
                ("threads", .threads), ("io_uring", .ioUring), ("automatic", .ioUring), ("", .ioUring),
            ]
            for (value, kind) in expected {
                setenv("PENSTOCK_DRIVER", value, 1)
                try await withStorageQueue { #expect($0.capabilities.driver == kind, "\(value)") }
                // What the program asks for by name is not overridden.
                try await withStorageQueue(Driver.threads.configuration()) {
                    #expect($0.capabilities.driver == .threads)
                }
                try await withStorageQueue(Driver.ioUring.configuration()) {
                    #expect($0.capabilities.driver == .ioUring)
                }
            }
            setenv("PENSTOCK_DRIVER", "floppy", 1)
            do throws(StorageError) {
                _ = try StorageQueue()
                Issue.record("a driver of that name")
            } catch {
                #expect(error.code == .invalidArgument && error.message.contains("floppy"), "\(error)")
            }
        }
    }

    @Test func idleQueueTakesNoProcessorTime() async {
        await #expect(processExitsWith: .success) {
            for driver in Driver.allCases {
                try await withStorageQueue(driver.ringOnly()) { queue in
                    _ = try await queue.load("/proc/version")
                    var (before, after) = (rusage(), rusage())
                    getrusage(0, &before)
                    // Time must pass for this one; it waits for nothing else.
                    usleep(300_000)
                    getrusage(0, &after)
                    let used =
                        (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1_000_000
                        + (after.ru_utime.tv_usec - before.ru_utime.tv_usec)
                        + (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1_000_000
                        + (after.ru_stime.tv_usec - before.ru_stime.tv_usec)
                    #expect(used < 30_000, "\(driver): \(used) µs of 300,000")
                }
            }
        }
    }
}

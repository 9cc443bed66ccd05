import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// A file closes after its last request, once, and says so afterwards.
@Suite(.timeLimit(.minutes(10))) struct Closing {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases)
    func closedFileRefusesEverythingAndClosesTwice(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        try await withStorageQueue(driver.configuration()) { queue in
            for caching in StorageFile.Caching.allCases {
                let file = try await queue.open(path, .readWrite, caching: caching)
                let buffer = try await queue.read(from: file)
                try await file.close()
                try await file.close()
                #expect(file.isClosed)
                await expectFailure(.fileClosed) { try await queue.read(from: file, into: buffer) }
                await expectFailure(.fileClosed) { try await queue.read(from: file) }
                await expectFailure(.fileClosed) { try await queue.write(buffer[...], to: file) }
                await expectFailure(.fileClosed) { try await file.size() }
                await expectFailure(.fileClosed) { try await file.sync() }
                await expectFailure(.fileClosed) { try await file.truncate(to: 0) }
                await expectFailure(.fileClosed) { try await file.preallocate(0..<1) }
                await expectFailure(.fileClosed) { try await file.preallocate(0..<0) }
                #expect(await queue.perform([.read(from: file, into: buffer[...])])[0].code == .fileClosed)
                await expectFailure(.fileClosed) {
                    for try await _ in queue.chunks(of: file) { Issue.record("a chunk of a closed file") }
                }
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func requestsThatRaceWithTheCloseSucceedOrSayClosed(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        for inlineLimit in [0, 1 << 20] {
            try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
                let buffer = try await queue.allocate(byteCount: 1 << 20)
                for round in 0..<60 {
                    let file = try await queue.open(path, caching: round % 2 == 0 ? .buffered : .direct)
                    await withTaskGroup(of: Void.self) { group in
                        for reader in 0..<16 {
                            group.addTask {
                                let range = reader * 4096..<(reader + 1) * 4096
                                do throws(StorageError) {
                                    let count = try await queue.read(
                                        from: file, at: UInt64(range.lowerBound), into: buffer[range])
                                    #expect(count == 4096)
                                    #expect(FilePattern().matches(buffer[range], at: UInt64(range.lowerBound)))
                                } catch {
                                    #expect(error.code == .fileClosed, "\(error)")
                                }
                            }
                        }
                        group.addTask { await #expect(throws: Never.self) { try await file.close() } }
                    }
                }
            }
        }
    }

    @Test func closeWaitsForTheRequestsInFlight() async throws {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = FilePattern().bytes(0..<100_000)
        var faults = SimulatedDisk.Faults.none
        let queue = try StorageQueue(simulating: disk)
        let opening = Task { try await queue.open("file", .readWrite, caching: .buffered) }
        let file = try await opening.value
        faults.delay = .seconds(1) ... .seconds(1)
        disk.faults = faults
        let buffer = try await queue.allocate(byteCount: 100_000)
        let read = Task { try await queue.read(from: file, into: buffer) }
        await disk.operationsInFlight(atLeast: 1)
        let close = Task { try await file.close() }
        while !file.isClosed { await Task.yield() }
        // Sent after the close, answered before it: the file is still open.
        _ = await queue.statistics
        #expect(disk.counts.openFiles == 1)
        disk.advance(by: .seconds(1))
        #expect(try await read.value == 100_000)
        try await close.value
        #expect(disk.counts.openFiles == 0 && FilePattern().matches(buffer))
        await queue.shutdown()
    }

    @Test(arguments: Driver.allCases)
    func droppedFileStaysOpenForItsRequests(_ driver: Driver) async throws {
        let path = directory.make("file", count: 4 << 20)
        try await withStorageQueue(driver.ringOnly()) { queue in
            let buffer = try await queue.allocate(byteCount: 4 << 20)
            for _ in 0..<20 {
                let requests = [StorageRequest.read(from: try await queue.open(path), into: buffer[...])]
                for await completion in queue.completions(of: requests) { #expect(completion.result.value == 4 << 20) }
            }
            #expect(FilePattern().matches(buffer))
        }
    }
}

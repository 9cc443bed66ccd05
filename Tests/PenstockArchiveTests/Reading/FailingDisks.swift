import Penstock
import PenstockArchive
import PenstockCompression
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// What a disk refuses is named, and told from what the machine refuses; reads in flight can be called off.
@Suite(.timeLimit(.minutes(10))) struct FailingDisks {
    private let directory = TemporaryDirectory()

    /// Entries with bytes between their chunks that belong to nothing.
    private static let files: Files = [
        "a": FilePattern(1).bytes(0..<5000), "b": FilePattern(2).bytes(0..<5001), "c": FilePattern(3).bytes(0..<9000),
    ]

    /// An archive on a disk that can fail, and its table.
    private func pack(time: SimulatedDisk.Time = .automatic) async throws -> (SimulatedDisk, [UInt8], ArchiveTable) {
        _ = try await withStorageQueue { queue in
            try await ArchiveWriter(on: queue, codec: nil, chunkSize: 4096)
                .write(Self.files.sources, to: directory["archive"])
        }
        let bytes = directory.contents(directory["archive"])
        let disk = SimulatedDisk(seed: 1, time: time)
        disk["archive"] = bytes
        return (disk, bytes, try ArchiveTable(archive: bytes))
    }

    private func open(_ queue: StorageQueue) async throws -> StorageArchive {
        var options = StorageArchive.Options()
        options.caching = .buffered
        return try await StorageArchive.open("archive", on: queue, options: options)
    }

    @Test func besideWhatCannotBeReadEveryByteIsStillChecked() async throws {
        var (disk, bytes, table) = try await pack()
        let queue = try StorageQueue(simulating: disk)
        let archive = try await open(queue)
        // The first chunk of `b` cannot be read; between its second and the first of `c` a byte has changed.
        let chunks = (0..<table.header.chunkCount).map { table[chunk: $0] }
        disk.fail("archive", in: chunks[2].offset + 7..<chunks[2].offset + 8)
        let padding = Int(chunks[3].offset) + chunks[3].count
        #expect(padding < Int(chunks[4].offset))
        bytes[padding] = 1
        disk["archive"] = bytes
        let damages = try await archive.damages()
        #expect(damages.map(\.kind) == [.unreadable, .padding] && damages.map(\.entry) == ["b", "b"])
        #expect(damages.map(\.offset) == [chunks[2].offset, UInt64(padding)])
        // And what cannot be read and belongs to nothing.
        disk.fail("archive", in: UInt64(padding)..<UInt64(padding) + 1)
        let more = try await archive.damages()
        #expect(more.map(\.kind) == [.unreadable, .unreadable] && more.last?.offset == UInt64(padding))
        await queue.shutdown()
    }

    @Test(arguments: [Errno.noMemory, .tooManyOpenFiles, .badFileDescriptor])
    func whatTheMachineRefusesIsNoDamage(_ errno: Errno) async throws {
        let (disk, bytes, _) = try await pack()
        let queue = try StorageQueue(simulating: disk)
        let archive = try await open(queue)
        disk.fail("archive", in: 0..<UInt64(bytes.count), with: errno)
        let error = await expectArchiveFailure(.storage) { try await archive.damages() }
        #expect((error?.underlying as? StorageError)?.errno == errno && error?.file == "archive")
        await queue.shutdown()
    }

    @Test func readsAreCalledOffByTheirTag() async throws {
        let (disk, _, _) = try await pack(time: .manual)
        let queue = try StorageQueue(simulating: disk)
        let archive = try await open(queue)
        let entry = try #require(archive["a"])
        disk.faults.delay = .seconds(1) ... .seconds(1)
        disk.faults.cancellable = 1
        let buffer = try await queue.allocate(byteCount: 10_000)
        // The disk's clock stands still: nothing ends but by its tag.
        let batch = Task {
            await archive.perform([
                ArchiveRead(entry, into: buffer[0..<5000], tag: 7), ArchiveRead(entry, into: buffer[5000...], tag: 8),
            ])
        }
        await disk.operationsInFlight(atLeast: 2)
        #expect(await queue.cancel(tag: 7) > 0)
        disk.advance(by: .seconds(1))
        let results = await batch.value
        await expectArchiveFailure(.cancelled) { try results[0].get() }
        #expect(try results[1].get() == 5000)

        let single = Task { try await archive.read("a", tag: 9) }
        await disk.operationsInFlight(atLeast: 1)
        #expect(await queue.cancel(tag: 9) > 0)
        await expectArchiveFailure(.cancelled) { try await single.value }
        let sequence = Task { for try await _ in archive.contents(tag: 10) {} }
        await disk.operationsInFlight(atLeast: 1)
        #expect(await queue.cancel(tag: 10) > 0)
        await expectArchiveFailure(.cancelled) { try await sequence.value }
        await queue.shutdown()
    }

    @Test func readsEndWithTheirDeadline() async throws {
        let (disk, _, _) = try await pack(time: .manual)
        let queue = try StorageQueue(simulating: disk)
        let archive = try await open(queue)
        disk.faults.delay = .seconds(1) ... .seconds(1)
        let over = ContinuousClock.now - .seconds(1)
        let error = await expectArchiveFailure(.storage) { try await archive.read("a", deadline: over) }
        #expect((error?.underlying as? StorageError)?.code == .deadlineExceeded)
        await expectArchiveFailure(.storage) { for try await _ in archive.contents(deadline: over) {} }
        await queue.shutdown()
    }

    @Test func tablesAreCheckedByTheWorkers() async throws {
        _ = try await pack()
        try await withStorageQueue { queue in
            let workers = try queue.codecWorkers
            let isOpen = Shared(false)
            let busy = Shared(0)
            // All of them are held up: these are threads of the queue's own.
            let holding = Task {
                try await workers.perform(workers.width) { _ in
                    busy.change { $0 += 1 }
                    while !isOpen.now {}
                }
            }
            while busy.now < workers.width { await Task.yield() }
            let hasOpened = Shared(false)
            let opening = Task {
                defer { hasOpened.change { $0 = true } }
                return try await StorageArchive.open(directory["archive"], on: queue)
            }
            while workers.waitingCount == 0, !hasOpened.now { await Task.yield() }
            #expect(workers.waitingCount == 1 && !hasOpened.now)
            isOpen.change { $0 = true }
            try await holding.value
            #expect(try await opening.value.entries.count == 3)
        }
    }
}

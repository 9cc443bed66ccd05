import Penstock
import PenstockCompression
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// Bytes that are damaged, requests that make no sense and disks that fail end in one typed error each.
@Suite struct DamagedReads {
    @Test func damageIsNamed() async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("damaged chunks")
        let bytes = Sample.text.bytes(300_000, &random)
        for codec in EncodedReads.codecs {
            try await withStorageQueue { queue in
                let file = try await queue.open(directory["\(codec.identifier)"], [.readWrite, .create])
                let chunks = try await queue.write(bytes, to: file, encoding: codec, checkedBy: testHash)
                let buffer = try await queue.allocate(byteCount: bytes.count)
                let victim = chunks[chunks.count / 2]
                // A short file.
                try await file.truncate(to: victim.offset + UInt64(victim.count) - 1)
                for isDropped in [false, true] {
                    if isDropped { dropFromCache(file.path) }
                    let error = await expectFailure(.malformedData) {
                        try await queue.read(from: file, chunks: chunks, into: buffer[...], decoding: codec)
                    }
                    #expect(error?.path == file.path && (error?.offset ?? 0) >= victim.offset)
                }
                // Bytes of something else.
                directory.write(file.path, Int64(victim.offset)..<Int64(victim.offset) + Int64(victim.count))
                for isDropped in [false, true] {
                    if isDropped { dropFromCache(file.path) }
                    // A tile stream is one chunk without a checksum.
                    let checked = await expectFailure(victim.checksum == nil ? .malformedData : .checksumMismatch) {
                        try await queue.read(
                            from: file, chunks: [victim], into: buffer[0..<victim.decodedCount], decoding: codec,
                            checkedBy: testHash)
                    }
                    #expect(checked?.offset == victim.offset && checked?.length == victim.count)
                    let unchecked = await expectFailure(.malformedData) {
                        try await queue.read(
                            from: file, chunks: [victim], into: buffer[0..<victim.decodedCount], decoding: codec)
                    }
                    #expect(unchecked?.underlying is CodecError)
                }
            }
        }
    }

    @Test func requestsThatMakeNoSenseAreRefused() async throws {
        let directory = TemporaryDirectory()
        let path = directory.make("file", count: 10_000)
        let other = try StorageQueue()
        try await withStorageQueue { queue in
            let file = try await queue.open(path)
            let buffer = try await queue.allocate(byteCount: 4096)
            let usual = try await queue.open(path)
            let fine = EncodedChunk(offset: 0, count: 100, decodedCount: 100, isStored: true)
            func read(
                _ chunks: [EncodedChunk], _ range: Range<Int>? = nil, _ slice: Range<Int> = 0..<100,
                _ file: StorageFile? = nil
            ) async throws -> Int {
                try await queue.read(
                    from: file ?? usual, chunks: chunks, range: range, into: buffer[slice],
                    decoding: LZ4())
            }
            #expect(try await read([fine]) == 100)
            for change: (inout EncodedChunk) -> Void in [
                { $0.count = -1 }, { $0.decodedCount = -1 }, { $0.offset = .max }, { $0.decodedCount = 99 },
                { $0.count = .max },
            ] {
                var chunk = fine
                change(&chunk)
                await expectFailure(.invalidArgument) { try await read([chunk], 0..<100) }
            }
            var huge = fine
            huge.isStored = false
            huge.decodedCount = .max
            await expectFailure(.invalidArgument) { try await read([huge, huge]) }
            await expectFailure(.invalidRange) { try await read([fine], 1..<101) }
            await expectFailure(.invalidRange) { try await read([fine], -1..<99) }
            await expectFailure(.invalidRange) { try await read([fine], nil, 0..<99) }
            await expectFailure(.invalidRange) { try await read([fine], nil, 4000..<4100) }
            await expectFailure(.invalidRange) {
                try await queue.read(from: file, count: -1, into: buffer[0..<100], decoding: GDeflate())
            }
            await expectFailure(.memoryLimit) {
                var large = huge
                large.count = 1 << 30
                large.decodedCount = 100
                return try await read([large])
            }
            let foreign = try await other.open(path)
            await expectFailure(.foreignFile) { try await read([fine], nil, 0..<100, foreign) }
            try await file.close()
            await expectFailure(.fileClosed) { try await read([fine], nil, 0..<100, file) }
            await expectFailure(.invalidArgument) {
                try await queue.write(buffer[...], to: foreign, encoding: LZ4(), chunkSize: 0)
            }
        }
        await other.shutdown()
    }

    @Test func neighboursThatClaimMoreTogetherThanThereAreNumbersAreRefused() async throws {
        let directory = TemporaryDirectory()
        let path = directory.make("file", count: 10_000)
        try await withStorageQueue { queue in
            let file = try await queue.open(path)
            let buffer = try await queue.allocate(byteCount: 200)
            let results = await queue.perform(
                (0..<2).map { index in
                    let chunk = EncodedChunk(offset: UInt64(index) * 100, count: 100, decodedCount: .max)
                    return DecodingRequest(
                        from: file, chunks: [chunk], range: 0..<100, into: buffer[index * 100..<index * 100 + 100],
                        decoding: LZ4())
                })
            for result in results { await expectFailure(.memoryLimit) { try result.get() } }
        }
    }

    /// Chunks far from each other, each of which is a read of its own.
    private func scattered(_ count: Int) -> [EncodedChunk] {
        (0..<count).map { EncodedChunk(offset: UInt64($0) * 10_000, count: 1000, decodedCount: 1000, isStored: true) }
    }

    @Test func nothingMoreIsBegunOfWhatWasCancelled() async throws {
        let disk = SimulatedDisk(seed: 1, time: .manual)
        disk["file"] = Array(repeating: 7, count: 4_000_000)
        try await withQueue(StorageQueue(simulating: disk)) { queue in
            let file = try await queue.open("file")
            let buffer = try await queue.allocate(byteCount: 400_000)
            let request = DecodingRequest(
                from: file, chunks: scattered(400), into: buffer[...], decoding: LZ4(), tag: 7)
            disk.faults.delay = .seconds(1) ... .seconds(1)
            disk.faults.cached = 0
            let read = Task { await queue.perform([request])[0] }
            await disk.operationsInFlight(atLeast: 16)
            #expect(await queue.cancel(tag: 7) > 0)
            disk.advance(by: .seconds(10))
            await expectFailure(.cancelled) { try await read.value.get() }
            #expect(disk.counts.operations < 40, "\(disk.counts.operations) operations")
        }
    }

    @Test func nothingMoreIsBegunOfWhatHasFailed() async throws {
        let disk = SimulatedDisk(seed: 1)
        disk["file"] = Array(repeating: 7, count: 4_000_000)
        disk.fail("file", in: 0..<1)
        try await withQueue(StorageQueue(simulating: disk)) { queue in
            let file = try await queue.open("file")
            let buffer = try await queue.allocate(byteCount: 400_000)
            disk.faults.cached = 0
            let error = await expectFailure(.io) {
                try await queue.read(from: file, chunks: scattered(400), into: buffer[...], decoding: LZ4())
            }
            #expect(error?.offset == 0)
            #expect(disk.counts.operations < 100, "\(disk.counts.operations) operations")
        }
    }

    @Test(arguments: 0..<repetitions(40))
    func faultsOfADiskNeverChangeBytes(_ round: Int) async throws {
        var random = seededOnce("decoding from a disk with faults")
        let disk = SimulatedDisk(seed: random.seed)
        try await withQueue(StorageQueue(simulating: disk)) { queue in
            let bytes = Sample.halves.bytes(400_000, &random)
            let file = try await queue.open("file", [.readWrite, .create])
            let chunks = try await queue.write(bytes, to: file, encoding: LZ4(), chunkSize: 30_000, checkedBy: testHash)
            disk.faults = .everything
            let requests: [(Range<Int>, HostBuffer)] = try await {
                var requests: [(Range<Int>, HostBuffer)] = []
                for _ in 0..<20 {
                    let start = random.below(bytes.count)
                    let range = start..<start + random.below(bytes.count - start + 1)
                    requests.append((range, try await queue.allocate(byteCount: max(1, range.count))))
                }
                return requests
            }()
            let results = await queue.perform(
                requests.map { range, buffer in
                    DecodingRequest(
                        from: file, chunks: chunks, range: range, into: buffer[0..<range.count], decoding: LZ4(),
                        checkedBy: testHash)
                })
            for ((range, buffer), result) in zip(requests, results) {
                switch result {
                case .success(let count):
                    #expect(count == range.count)
                    #expect(Array(buffer.bytes.prefix(count)) == Array(bytes[range]), "seed \(random.seed)")
                case .failure(let error):
                    #expect([.io, .cancelled].contains(error.code), "\(error), seed \(random.seed)")
                }
            }
        }
    }

    private func withQueue(_ queue: StorageQueue, _ body: (StorageQueue) async throws -> Void) async throws {
        do {
            try await body(queue)
            await queue.shutdown()
        } catch {
            await queue.shutdown()
            throw error
        }
    }
}

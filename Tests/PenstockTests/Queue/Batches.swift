import Penstock
import TestSupport
import Testing

/// Many requests, one suspension, each with a result of its own in the order asked.
@Suite(.timeLimit(.minutes(10))) struct Batches {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func resultsComeInTheOrderGivenWhateverThePriorities(_ driver: Driver, _ inlineLimit: Int) async throws {
        let path = directory.make("file", count: 1 << 20)
        var random = seededOnce("batch order, \(driver)")
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            let file = try await queue.open(path)
            let buffer = try await queue.allocate(byteCount: 1 << 20)
            var results: [Result<Int, StorageError>] = []
            for round in 0..<20 {
                if round % 5 == 0 { dropFromCache(path) }
                FilePattern(99).fill(buffer[...], at: 0)
                // Each reads a block of another length from another place into its own part of the buffer.
                let lengths = (0..<256).map { _ in 1 + random.below(4096) }
                let offsets = (0..<256).map { _ in UInt64(random.below((1 << 20) - 4096)) }
                let requests = (0..<256).map { index -> StorageRequest in
                    let priority = random.chance(30) ? nil : StoragePriority.allCases.randomElement(using: &random)
                    let slice = buffer[index * 4096..<index * 4096 + lengths[index]]
                    return .read(from: file, at: offsets[index], into: slice, priority: priority)
                }
                await queue.perform(requests, into: &results)
                #expect(results.map(\.value) == lengths, "seed \(random.seed)")
                for index in 0..<256 {
                    #expect(
                        FilePattern().matches(requests[index].slice!, at: offsets[index]),
                        "seed \(random.seed), \(index)")
                }
            }
        }
    }

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func eachRequestFailsForItselfAlone(_ driver: Driver, _ inlineLimit: Int) async throws {
        let path = directory.make("file", count: 10_000)
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            let other = try StorageQueue(driver.configuration())
            let (file, closed) = (try await queue.open(path, .readWrite), try await queue.open(path))
            let (readOnly, foreign) = (try await queue.open(path), try await other.open(path))
            let writeOnly = try await queue.open(path, .writeOnly)
            try await closed.close()
            let buffer = try await queue.allocate(byteCount: 4096)
            let slice = buffer[...]
            let cases: [(StorageRequest, StorageError.Code?)] = [
                (.read(from: file, into: slice), nil),
                (.read(from: closed, into: slice), .fileClosed),
                (.read(from: foreign, into: slice), .foreignFile),
                (.write(slice, to: readOnly), .badDescriptor),
                (.read(from: writeOnly, into: slice), .badDescriptor),
                (.read(from: file, at: .max, into: slice), .invalidRange),
                (.read(from: file, into: buffer[0..<9999]), .invalidRange),
                (.read(from: file, at: 9000, into: slice, priority: .urgent), nil),
                (.write(buffer[0..<10], to: file, at: 500, priority: .background), nil),
            ]
            let results = await queue.perform(cases.map(\.0))
            #expect(results.map(\.code) == cases.map(\.1))
            #expect(results[7].value == 1000 && results[0].value == 4096 && results[8].value == 10)
            var delivered: [Int: StorageError.Code?] = [:]
            for await completion in queue.completions(of: cases.map(\.0)) {
                #expect(delivered.updateValue(completion.result.code, forKey: completion.index) == nil)
            }
            for index in cases.indices { #expect(delivered[index] == .some(cases[index].1), "\(index)") }
            await other.shutdown()
        }
    }

    /// The peer lost 56 of 64 requests on 8 entries.
    @Test(arguments: Driver.allCases)
    func moreRequestsThanRingEntriesAllEnd(_ driver: Driver) async throws {
        let path = directory.make("file", count: 4 << 20)
        for depth in [2, 4, 8] {
            try await withStorageQueue(driver.ringOnly { $0.requestsInFlight = depth }) { queue in
                let file = try await queue.open(path)
                let buffer = try await queue.allocate(byteCount: 4 << 20)
                let requests = (0..<2000).map { index in
                    let place = index % 1024 * 4096
                    return StorageRequest.read(from: file, at: UInt64(place), into: buffer[place..<place + 4096])
                }
                let results = await queue.perform(requests)
                #expect(results.count == 2000 && results.allSatisfy { $0.value == 4096 })
                #expect(FilePattern().matches(buffer))
                await withTaskGroup(of: Int?.self) { group in
                    for request in requests {
                        group.addTask {
                            try? await queue.read(from: file, at: request.offset, into: request.slice!)
                        }
                    }
                    for await count in group { #expect(count == 4096) }
                }
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func batchOfWritesIsWritten(_ driver: Driver) async throws {
        let path = directory["new"]
        try await withStorageQueue(driver.configuration()) { queue in
            let file = try await queue.open(path, [.writeOnly, .create])
            let buffer = try await queue.allocate(byteCount: 1 << 20)
            FilePattern().fill(buffer[...], at: 0)
            let requests = (0..<100).map { index in
                let range = index * 10_000..<(index + 1) * 10_000
                return StorageRequest.write(buffer[range], to: file, at: UInt64(range.lowerBound))
            }
            #expect(await queue.perform(requests).allSatisfy { $0.value == 10_000 })
        }
        #expect(directory.contents(path) == FilePattern().bytes(0..<1_000_000))
    }
}

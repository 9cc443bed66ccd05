import Penstock
import TestSupport
import Testing

/// Completions as they happen: each once, and none is lost when the loop is left.
@Suite(.timeLimit(.minutes(10))) struct Completions {
    private let directory = TemporaryDirectory()

    private func requests(_ queue: StorageQueue, _ count: Int) async throws -> [StorageRequest] {
        let path = directory.make("file", count: count * 4096)
        let file = try await queue.open(path)
        let buffer = try await queue.allocate(byteCount: count * 4096)
        return (0..<count).map { index in
            .read(
                from: file, at: UInt64(index * 4096), into: buffer[index * 4096..<(index + 1) * 4096],
                tag: UInt64(index) + 1000)
        }
    }

    @Test(arguments: Driver.allCases, [0, 1 << 20])
    func eachIsDeliveredExactlyOnce(_ driver: Driver, _ inlineLimit: Int) async throws {
        try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
            let requests = try await requests(queue, 500)
            let sequence = queue.completions(of: requests)
            // An iterator performs anew, so the same sequence may be used twice.
            for _ in 0..<2 {
                var seen = Set<Int>()
                for await completion in sequence {
                    #expect(seen.insert(completion.index).inserted)
                    #expect(completion.tag == UInt64(completion.index) + 1000 && completion.result.value == 4096)
                    #expect(
                        FilePattern().matches(requests[completion.index].slice!, at: requests[completion.index].offset))
                }
                #expect(seen.count == 500)
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func leavingTheLoopEarlyLeaksNothingAndStopsTheRest(_ driver: Driver) async throws {
        try await withStorageQueue(driver.ringOnly { $0.requestsInFlight = 4 }) { queue in
            let requests = try await requests(queue, 500)
            for count in [0, 1, 7] {
                var taken = 0
                for await _ in queue.completions(of: requests) {
                    taken += 1
                    if taken >= count { break }
                }
            }
            // All have ended, one way or the other, when what is asked for afterwards has.
            try await queue.barrier()
            let statistics = await queue.statistics
            #expect(statistics.callsWaiting == 0 && statistics.bytesInFlight == 0)
            #expect(statistics.requests == 1500)
        }
    }

    @Test(arguments: Driver.allCases)
    func cancelledLoopStillDeliversEach(_ driver: Driver) async throws {
        try await withStorageQueue(driver.ringOnly { $0.requestsInFlight = 2 }) { queue in
            let requests = try await requests(queue, 300)
            for cancelAfter in [0, 1, 50, 300] {
                let task = Task {
                    var seen = Set<Int>()
                    if cancelAfter == 0 { withUnsafeCurrentTask { $0?.cancel() } }
                    for await completion in queue.completions(of: requests) {
                        #expect(seen.insert(completion.index).inserted)
                        if let code = completion.result.code { #expect(code == .cancelled) }
                        if seen.count == cancelAfter { withUnsafeCurrentTask { $0?.cancel() } }
                    }
                    return seen.count
                }
                #expect(await task.value == 300, "cancelled after \(cancelAfter)")
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func shutDownQueueDeliversEachAsClosed(_ driver: Driver) async throws {
        let queue = try StorageQueue(driver.ringOnly())
        let requests = try await requests(queue, 10)
        await queue.shutdown()
        var codes: [StorageError.Code?] = []
        for await completion in queue.completions(of: requests) { codes.append(completion.result.code) }
        #expect(codes == Array(repeating: .queueClosed, count: 10))
    }

    @Test func ofNothingIsOverAtOnce() async throws {
        try await withStorageQueue { queue in
            for await _ in queue.completions(of: []) { Issue.record("of nothing, something") }
        }
    }
}

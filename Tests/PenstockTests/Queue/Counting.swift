import Penstock
import TestSupport
import Testing

/// What the queue says it did is what it did.
@Suite(.timeLimit(.minutes(10))) struct Counting {
    private let directory = TemporaryDirectory()

    @Test(arguments: Driver.allCases)
    func statisticsAddUp(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        for inlineLimit in [0, 1 << 20] {
            try await withStorageQueue(driver.configuration { $0.inlineLimit = inlineLimit }) { queue in
                let (file, direct) = (
                    try await queue.open(path, .readWrite), try await queue.open(path, caching: .direct)
                )
                let buffer = try await queue.allocate(byteCount: 1 << 20)
                for index in 0..<20 {
                    try await queue.read(from: file, at: UInt64(index), into: buffer[..<1000], priority: .high)
                }
                for _ in 0..<10 { try await queue.read(from: direct, into: buffer, priority: .urgent) }
                for _ in 0..<5 { try await queue.write(buffer[..<2000], to: file, priority: .background) }
                #expect(try await queue.read(from: file, at: (1 << 20) - 5, into: buffer[..<100]) == 5)
                let statistics = await queue.statistics
                #expect(statistics.driver == (driver == .ioUring ? .ioUring : .threads))
                #expect(statistics.bytesRead == 20_000 + 10 << 20 + 5)
                #expect(statistics.bytesWritten == 10_000)
                #expect(statistics.requests == 36 && statistics.failed == 0 && statistics.cancelled == 0)
                #expect(statistics.flow(nil, .high).requests == 20 && statistics.flow(nil, .high).bytes == 20_000)
                #expect(statistics.flow(.direct, .urgent).requests == 10)
                #expect(statistics.flow(.inline).requests == (inlineLimit == 0 ? 0 : 21))
                // Of the inline path only some are measured.
                let measured = [.buffered, .direct].map { statistics.flow($0).latency.count }.reduce(0, +)
                #expect(measured == (inlineLimit == 0 ? 36 : 15) && statistics.flow().latency.max > 0)
                #expect(statistics.bytesInFlight == 0 && statistics.piecesInFlight == 0 && statistics.callsWaiting == 0)
                #expect(statistics.creditsLeft == queue.configuration.bytesInFlight)
                #expect(statistics.peakBytesInFlight <= queue.configuration.bytesInFlight)
                #expect(statistics.memoryInUse == 1 << 20)
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func traceIsCalledOncePerRingRequest(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        let traces = Shared<[StorageTrace]>([])
        let configuration = driver.ringOnly {
            $0.trace = { trace in traces.change { $0.append(trace) } }
            $0.pieceSize = 64 << 10
        }
        try await withStorageQueue(configuration) { queue in
            let file = try await queue.open(path, .readWrite)
            let buffer = try await queue.allocate(byteCount: 1 << 20)
            for index in 0..<50 as Range<UInt64> {
                try await queue.read(
                    from: file, at: index * 1000, into: buffer[..<500_000], tag: index, label: "one by one")
            }
            let batch = (0..<50).map {
                StorageRequest.write(buffer[..<100], to: file, at: UInt64($0 * 100), tag: 100 + UInt64($0))
            }
            _ = await queue.perform(batch, label: "batch")
            await expectFailure(.fileTooLarge) {
                try await queue.write(buffer[..<10], to: file, at: UInt64(Int64.max) - 10, tag: 999)
            }
        }
        let all = traces.now
        #expect(all.map(\.tag).sorted() == Array(0..<50) + Array(100..<150) + [999])
        for trace in all {
            #expect(trace.path == path && trace.completedAt >= trace.submittedAt && trace.submittedAt >= trace.queuedAt)
            #expect(trace.label == (trace.tag < 50 ? "one by one" : trace.tag < 999 ? "batch" : nil))
            #expect(trace.isWrite == (trace.tag >= 100))
            #expect(trace.failure == (trace.tag == 999 ? .fileTooLarge : nil))
            if trace.tag < 50 {
                #expect(trace.offset == trace.tag * 1000 && trace.length == 500_000 && trace.count == 500_000)
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func failuresAndCancellationsAreCountedApart(_ driver: Driver) async throws {
        let path = directory.make("file", count: 100)
        try await withStorageQueue(driver.ringOnly()) { queue in
            let file = try await queue.open(path, .readWrite)
            let buffer = try await queue.allocate(byteCount: 10)
            await expectFailure(.fileTooLarge) {
                try await queue.write(buffer[...], to: file, at: UInt64(Int64.max) - 10)
            }
            await expectFailure(.deadlineExceeded) {
                try await queue.read(from: file, into: buffer, deadline: .now - .seconds(1))
            }
            let statistics = await queue.statistics
            #expect(statistics.failed == 1 && statistics.cancelled == 1 && statistics.requests == 2)
        }
    }
}

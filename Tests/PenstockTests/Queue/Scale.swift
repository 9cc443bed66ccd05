import Penstock
import TestSupport
import Testing

/// A hundred thousand at a time: all complete, and the limits hold.
@Suite(.timeLimit(.minutes(10)), .serialized) struct Scale {
    private let directory = TemporaryDirectory()

    // The inline path is the same over every driver.
    @Test(arguments: [(Driver.ioUring, 0), (.threads, 0), (.ioUring, 1 << 20)])
    func aHundredThousandConcurrentReadsAllComplete(_ driver: Driver, _ inlineLimit: Int) async throws {
        let (blocks, requests) = (4096, repetitions(100_000))
        let path = directory.make("file", count: blocks * 4096)
        let configuration = driver.configuration {
            $0.inlineLimit = inlineLimit
            $0.hostMemoryLimit = 64 << 20
        }
        try await withStorageQueue(configuration) { queue in
            let file = try await queue.open(path)
            let bytes = await withTaskGroup(of: Int.self) { group in
                for index in 0..<requests {
                    group.addTask {
                        do throws(StorageError) {
                            // Each has a buffer of its own; what does not fit the limit waits.
                            let block = UInt64(index * 7919 % blocks)
                            let buffer = try await queue.read(from: file, block * 4096..<(block + 1) * 4096)
                            return FilePattern().matches(buffer, at: block * 4096) ? buffer.count : -1
                        } catch {
                            Issue.record(error)
                            return 0
                        }
                    }
                }
                return await group.reduce(0, +)
            }
            #expect(bytes == requests * 4096)
            let statistics = await queue.statistics
            #expect(statistics.requests == UInt64(requests) && statistics.bytesRead == UInt64(requests * 4096))
            #expect(statistics.memoryMapped <= 64 << 20 && statistics.memoryInUse == 0)
            #expect(statistics.peakBytesInFlight <= configuration.bytesInFlight)
        }
    }
}

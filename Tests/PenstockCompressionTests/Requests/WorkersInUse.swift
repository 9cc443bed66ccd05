import Glibc
import Penstock
import PenstockCompression
import TestSupport
import Testing

/// Decoding that is cancelled, shut down or crowded ends once, leaves memory alone, and never takes more threads than there
/// are processors.
@Suite(.timeLimit(.minutes(10))) struct WorkersInUse {
    /// Holds up whoever passes, until it is opened; notes the order.
    private final class Gate: Sendable {
        private let state = Shared((inside: 0, peak: 0, isOpen: false, order: [Int]()))

        func pass(_ number: Int) {
            state.change {
                $0.inside += 1
                $0.peak = max($0.peak, $0.inside)
                $0.order.append(number)
            }
            // Workers are threads of the queue's own: to hold them up is what these tests are about.
            while !state.now.isOpen { sched_yield() }
            state.change { $0.inside -= 1 }
        }

        var inside: Int { state.now.inside }
        var peak: Int { state.now.peak }
        var order: [Int] { state.now.order }
        func open() { state.change { $0.isOpen = true } }
    }

    /// Workers, which end with the body.
    private func withWorkers(_ width: Int, _ body: (CodecWorkers) async throws -> Void) async rethrows {
        let workers = CodecWorkers(width: width, name: "test")
        try await body(workers)
        workers.stop()
        workers.join()
    }

    @Test func noMoreThanSoManyWorkAtOnce() async {
        await withWorkers(3) { workers in
            let gate = Gate()
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<4 { group.addTask { try? await workers.perform(5) { gate.pass($0) } } }
                while gate.inside < 3 { await Task.yield() }
                gate.open()
            }
            #expect(gate.peak == 3)
            #expect(gate.order.count == 20)
        }
    }

    @Test func theMostImportantGoFirst() async {
        await withWorkers(1) { workers in
            let gate = Gate()
            await withTaskGroup(of: Void.self) { group in
                group.addTask { try? await workers.perform(1) { _ in gate.pass(0) } }
                while gate.inside < 1 { await Task.yield() }
                for priority in [StoragePriority.normal, .background, .urgent, .high] {
                    group.addTask {
                        try? await workers.perform(2, priority: priority) { _ in gate.pass(Int(priority.rawValue)) }
                    }
                }
                while workers.waitingCount < 4 { await Task.yield() }
                gate.open()
            }
            #expect(gate.order.dropFirst() == [3, 3, 2, 2, 1, 1, 0, 0])
        }
    }

    @Test func workRisesWithItsTask() async {
        await withWorkers(1) { workers in
            let gate = Gate()
            await withTaskGroup(of: Void.self) { group in
                group.addTask { try? await workers.perform(1) { _ in gate.pass(0) } }
                while gate.inside < 1 { await Task.yield() }
                let tasks = [nil, StoragePriority.normal, nil].enumerated().map { number, priority in
                    Task(priority: .background) {
                        try? await workers.perform(2, priority: priority) { _ in gate.pass(1 + number) }
                    }
                }
                while workers.waitingCount < 3 { await Task.yield() }
                tasks[2].escalatePriority(to: .high)
                gate.open()
                for task in tasks { await task.value }
            }
            #expect(gate.order == [0, 3, 3, 2, 2, 1, 1])
        }
    }

    @Test func whatWaitsCanBeWithdrawn() async {
        await withWorkers(1) { workers in
            let gate = Gate()
            await withTaskGroup(of: Void.self) { group in
                group.addTask { try? await workers.perform(1) { _ in gate.pass(0) } }
                while gate.inside < 1 { await Task.yield() }
                let waiting = (1...9).map { number in
                    Task { try await workers.perform(3, tag: UInt64(number)) { _ in gate.pass(number) } }
                }
                while workers.waitingCount < 9 { await Task.yield() }
                // The worker is held up: these end without it.
                for task in waiting.prefix(3) { task.cancel() }
                for task in waiting.prefix(3) { await expectFailure(.cancelled) { try await task.value } }
                #expect(workers.cancel(tag: 4, mask: .max) == 1)
                await expectFailure(.cancelled) { try await waiting[3].value }
                #expect(workers.cancel(tag: 4, mask: 4) == 3)
                for task in waiting[4..<7] { await expectFailure(.cancelled) { try await task.value } }
                workers.stop()
                for task in waiting[7...] { await expectFailure(.queueClosed) { try await task.value } }
                gate.open()
            }
            #expect(gate.order == [0])
            await expectFailure(.queueClosed) { try await workers.perform(1) { _ in } }
        }
    }

    @Test func aCancelledTaskAsksForNothing() async {
        await withWorkers(1) { workers in
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                try await workers.perform(1) { _ in Issue.record("it was cancelled before") }
            }
            task.cancel()
            await expectFailure(.cancelled) { try await task.value }
        }
    }

    @Test(arguments: Driver.allCases)
    func cancelledReadsLeaveMemoryAlone(_ driver: Driver) async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("cancelled decoding by \(driver)")
        let bytes = Sample.text.bytes(1 << 20, &random)
        try await withStorageQueue(driver.configuration()) { queue in
            let path = directory["file"]
            let file = try await queue.open(path, [.readWrite, .create])
            let chunks = try await queue.write(bytes, to: file, encoding: Zstd(), chunkSize: 16 << 10)
            for round in 0..<24 {
                if round % 3 == 0 { dropFromCache(path) }
                let buffer = try await queue.allocate(byteCount: bytes.count)
                let task = Task {
                    do throws(StorageError) {
                        let count = try await queue.read(
                            from: file, chunks: chunks, into: buffer[...], decoding: Zstd())
                        #expect(count == bytes.count && buffer.bytes == bytes)
                    } catch {
                        #expect(error.code == .cancelled)
                    }
                    // From here on the memory is the caller's.
                    buffer.withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: 0xA5) }
                }
                // Each of these lets all other tests have a turn.
                for _ in 0..<random.below(40) { await Task.yield() }
                task.cancel()
                await task.value
                for _ in 0..<4 { await Task.yield() }
                #expect(buffer.bytes.allSatisfy { $0 == 0xA5 })
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func shutdownEndsEverythingOnce(_ driver: Driver) async throws {
        let directory = TemporaryDirectory()
        var random = seededOnce("shutdown while decoding by \(driver)")
        let bytes = Sample.text.bytes(1 << 20, &random)
        for round in 0..<20 {
            let queue = try StorageQueue(driver.configuration())
            let path = directory["file"]
            let file = try await queue.open(path, [.readWrite, .create])
            let chunks = try await queue.write(bytes, to: file, encoding: LZ4(), chunkSize: 8 << 10)
            if round % 2 == 0 { dropFromCache(path) }
            let ended = Shared(0)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    guard let buffer = try? await queue.allocate(byteCount: bytes.count) else { continue }
                    group.addTask {
                        do throws(StorageError) {
                            let count = try await queue.read(
                                from: file, chunks: chunks, into: buffer[...], decoding: LZ4())
                            #expect(count == bytes.count)
                        } catch {
                            #expect(error.code == .queueClosed, "\(error)")
                        }
                        ended.change { $0 += 1 }
                    }
                }
                for _ in 0..<random.below(30) { await Task.yield() }
                await queue.shutdown()
            }
            #expect(ended.now == 8)
            await expectFailure(.queueClosed) {
                let other = try StorageQueue()
                let buffer = try await other.allocate(byteCount: bytes.count)
                return try await queue.read(from: file, chunks: chunks, into: buffer[...], decoding: LZ4())
            }
        }
    }

    @Test func deadlinesEndWhatHasNotBegun() async throws {
        try await withEncodedFile { queue, read in
            await expectFailure(.deadlineExceeded) { try await read(.now - .seconds(1)) }
        }
    }

    /// Nobody has to come to a request for its time to be over.
    @Test func deadlinesEndWhatWaitsForAWorker() async throws {
        try await withEncodedFile { queue, read in
            let workers = try queue.codecWorkers
            let gate = Gate()
            async let busy: Void = workers.perform(workers.width) { gate.pass($0) }
            while gate.inside < workers.width { await Task.yield() }
            await expectFailure(.deadlineExceeded) { try await read(.now + .milliseconds(20)) }
            gate.open()
            try await busy
        }
    }

    @Test func deadlinesEndEncodingThatWaitsForAWorker() async throws {
        let directory = TemporaryDirectory()
        try await withStorageQueue { queue in
            let file = try await queue.open(directory["file"], [.readWrite, .create])
            let workers = try queue.codecWorkers
            let gate = Gate()
            async let busy: Void = workers.perform(workers.width) { gate.pass($0) }
            while gate.inside < workers.width { await Task.yield() }
            let buffer = try await queue.allocate(byteCount: 3)
            await expectFailure(.deadlineExceeded) {
                try await queue.write(buffer[...], to: file, encoding: LZ4(), deadline: .now + .milliseconds(20))
            }
            gate.open()
            try await busy
        }
    }

    private typealias Read = (_ deadline: ContinuousClock.Instant) async throws(StorageError) -> Void

    /// A queue, and a read of encoded bytes that is to end in time.
    private func withEncodedFile(_ body: (StorageQueue, Read) async throws -> Void) async throws {
        let directory = TemporaryDirectory()
        try await withStorageQueue { queue in
            let file = try await queue.open(directory["file"], [.readWrite, .create])
            let chunks = try await queue.write([1, 2, 3], to: file, encoding: LZ4())
            let buffer = try await queue.allocate(byteCount: 3)
            try await body(queue) { deadline throws(StorageError) in
                try await queue.read(
                    from: file, chunks: chunks, into: buffer[...], decoding: LZ4(), deadline: deadline)
            }
        }
    }
}

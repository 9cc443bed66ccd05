import Glibc
import Penstock
import TestSupport
import Testing

/// The queue's thread as an executor: jobs and tasks run on it, and it knows itself.
@Suite(.timeLimit(.minutes(10))) struct Executing {
    private let directory = TemporaryDirectory()

    private func thread() -> UInt { UInt(pthread_self()) }

    @Test(arguments: Driver.allCases)
    func tasksThatPreferTheExecutorStayOnItsThread(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        try await withStorageQueue(driver.ringOnly()) { queue in
            let own = await queue.currentThread()
            try await withTaskExecutorPreference(queue.executor) {
                #expect(thread() == own)
                let file = try await queue.open(path)
                let buffer = try await queue.allocate(byteCount: 1 << 20)
                for index in 0..<100 {
                    #expect(try await queue.read(from: file, at: UInt64(index), into: buffer[..<5000]) == 5000)
                    #expect(FilePattern().matches(buffer[..<5000], at: UInt64(index)))
                    #expect(thread() == own)
                }
                await withTaskGroup(of: Void.self) { group in
                    for _ in 0..<50 {
                        group.addTask {
                            #expect(thread() == own)
                            _ = try? await queue.load(path)
                            #expect(thread() == own)
                        }
                    }
                }
                _ = await queue.statistics
                #expect(thread() == own)
            }
            #expect(await queue.currentThread() == own)
        }
    }

    @Test func actorIsolationIsTheThread() async throws {
        try await withStorageQueue { queue in
            await queue.assertsItsIsolation()
            await withTaskExecutorPreference(queue.executor) {
                #expect(queue.executor.serial.isIsolatingCurrentContext() == true)
                queue.executor.serial.checkIsolated()
            }
            #expect(queue.executor.serial.isIsolatingCurrentContext() == false)
        }
    }

    @Test func manyJobsFromManyTasksAllRun() async throws {
        try await withStorageQueue { queue in
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<2000 { group.addTask { _ = await queue.currentThread() } }
            }
            let sum = Shared(0)
            await withTaskExecutorPreference(queue.executor) {
                await withTaskGroup(of: Void.self) { group in
                    for number in 0..<2000 {
                        group.addTask {
                            await Task.yield()
                            sum.change { $0 += number }
                        }
                    }
                }
            }
            #expect(sum.now == 1999 * 1000)
        }
    }

    @Test(arguments: Driver.allCases)
    func twoQueuesShareNothing(_ driver: Driver) async throws {
        let path = directory.make("file", count: 1 << 20)
        let (first, second) = (try StorageQueue(driver.configuration()), try StorageQueue(driver.ringOnly()))
        #expect(await first.currentThread() != second.currentThread())
        await first.shutdown()
        #expect(try await second.load(path).count == 1 << 20)
        #expect(await first.statistics.requests == 0)
        await second.shutdown()
    }
}

extension StorageQueue {
    fileprivate func currentThread() -> UInt { UInt(pthread_self()) }

    /// `assumeIsolated` traps off the actor's executor; on it, it does not.
    fileprivate func assertsItsIsolation() {
        preconditionIsolated()
        assumeIsolated { $0.assertIsolated() }
    }
}

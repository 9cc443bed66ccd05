import Glibc
import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// Random calls on random files under random faults and limits, all from one seed; each call checks its own result.
struct Workload {
    let seed: UInt64
    private var random: SeededRandom

    static var onlySeed: UInt64? { getenv("PENSTOCK_SEED").flatMap { UInt64(String(cString: $0)) } }

    private init(seed: UInt64) {
        self.seed = seed
        random = SeededRandom(seed)
    }

    static func run(seed: UInt64) async throws {
        var workload = Workload(seed: seed)
        try await workload.run()
    }

    private mutating func run() async throws {
        let disk = SimulatedDisk(seed: seed, faults: faults())
        let sizes = (0..<3).map { _ in Int.random(in: 0...40_000, using: &random) }
        for (index, size) in sizes.enumerated() {
            disk[FilePath("file\(index)")] = Pattern.bytes(file: index, count: size)
        }
        disk["bad"] = Pattern.bytes(file: 9, count: 10_000)
        disk.fail("bad", in: 5_000..<5_001)
        let configuration = configuration()
        let queue = try StorageQueue(simulating: disk, configuration)
        let ledger = Ledger()

        let plans = (0..<Int.random(in: 4...24, using: &random)).map { _ in plan(sizes) }
        let shutsDownEarly = random.chance(20)
        await withTaskExecutorPreference(queue.executor) { [seed] in
            await withTaskGroup(of: Void.self) { group in
                for (index, plan) in plans.enumerated() {
                    let task = Task(executorPreference: queue.executor) {
                        await plan.perform(on: queue, disk, ledger, seed: seed, index: index)
                    }
                    group.addTask { await task.value }
                    if let yields = plan.cancelsAfter {
                        group.addTask {
                            for _ in 0..<yields { await Task.yield() }
                            task.cancel()
                        }
                    }
                }
                if shutsDownEarly { group.addTask { await queue.shutdown() } }
            }
        }
        let statistics = await queue.statistics
        // After a shutdown the descriptors go with the disk: there is no driver left to close them with.
        let leaked = shutsDownEarly ? 0 : disk.counts.openFiles
        await queue.shutdown()

        #expect(ledger.ended == plans.count, "seed \(seed): every call ends exactly once")
        #expect(ledger.untouched, "seed \(seed): memory was touched after its call had returned")
        let limit = max(configuration.bytesInFlight, configuration.pieceSize)
        #expect(statistics.peakBytesInFlight <= limit, "seed \(seed): bytes in flight passed their limit")
        #expect(statistics.callsWaiting == 0 && statistics.bytesInFlight == 0, "seed \(seed): something was forgotten")
        #expect(leaked == 0, "seed \(seed): a descriptor leaked")
    }

    private mutating func faults() -> SimulatedDisk.Faults {
        guard random.chance(90) else { return .none }
        var faults = SimulatedDisk.Faults.everything
        if random.chance(30) { faults.ioErrors = 0.05 }
        if random.chance(30) { faults.delay = .zero ... .zero }
        faults.cached = random.chance(50) ? 0 : 0.5
        return faults
    }

    private mutating func configuration() -> StorageQueue.Configuration {
        var configuration = StorageQueue.Configuration()
        configuration.requestsInFlight = Int.random(in: 2...20, using: &random)
        configuration.pieceSize = 4096 * Int.random(in: 1...3, using: &random)
        configuration.bytesInFlight = Int.random(in: 5_000...60_000, using: &random)
        configuration.urgentReserve = configuration.bytesInFlight / 4
        configuration.ordering = random.chance(20) ? .serial : .concurrent
        return configuration
    }

    private mutating func plan(_ sizes: [Int]) -> CallPlan {
        let file = Int.random(in: 0..<sizes.count, using: &random)
        let caching = StorageFile.Caching.allCases.randomElement(using: &random)!
        var plan = CallPlan(file: file, size: sizes[file], caching: caching, kind: .read)
        plan.kind = [.read, .read, .read, .batch, .batch, .write, .load, .bad, .chunks].randomElement(using: &random)!
        plan.ranges = (0..<Int.random(in: 1...12, using: &random)).map { _ in
            let offset = Int.random(in: 0...44_000, using: &random)
            return offset..<offset + Int.random(in: 0...20_000, using: &random)
        }
        plan.misalignment = random.chance(50) ? 0 : Int.random(in: 1...600, using: &random)
        plan.priority = random.chance(50) ? nil : StoragePriority.allCases.randomElement(using: &random)!
        plan.deadline = random.chance(10) ? .milliseconds(Int.random(in: 0...5, using: &random)) : nil
        plan.cancelsAfter = random.chance(30) ? Int.random(in: 0...20, using: &random) : nil
        return plan
    }
}

/// Content that tells where it comes from.
enum Pattern {
    private static func byte(file: Int, at offset: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: (offset &* 131) ^ (offset >> 8) &* 7 ^ (offset >> 16) &* 29 &+ file &* 57)
    }

    /// Made once: a debug build makes these bytes a hundred times slower than it compares them.
    private static let prefixes = (0..<32).map { file in (0..<64_000).map { byte(file: file, at: $0) } }

    static func bytes(file: Int, count: Int) -> [UInt8] { Array(prefixes[file][..<count]) }

    static func matches(_ bytes: UnsafeRawBufferPointer, file: Int, at offset: Int) -> Bool {
        prefixes[file].withUnsafeBytes { expected in
            bytes.isEmpty || memcmp(bytes.baseAddress!, expected.baseAddress! + offset, bytes.count) == 0
        }
    }
}

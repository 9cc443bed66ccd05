import ArgumentParser
import Penstock
import Synchronization
import SystemPackage

/// What priorities are for: how long an urgent read takes while bulk reads saturate the disk, and what that costs them.
struct BenchLatency: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latency",
        abstract: "Urgent 64 KiB reads behind bulk 1 MiB reads, with and without priorities.")

    @OptionGroup var options: BenchOptions

    @Option(help: ArgumentHelp("Seconds for each measurement.", valueName: "seconds"))
    var seconds = 1.0

    /// Bulk reads that wait at any time: enough to fill any budget.
    private static let bulkTasks = 32

    func run() async throws {
        let session = try BenchSession(options, warm: false)
        let disk = try await LatencyDisk(session, seconds: seconds)
        var rounds: [Round] = []
        let bar = ProgressBar("urgent reads behind bulk", total: UInt64(session.rounds * 4), unit: .items)
        while rounds.count < session.rounds, !Interrupt.isRequested {
            let bulkAlone = try await disk.measure(bulkTasks: Self.bulkTasks, urgent: nil)
            bar.advance()
            let alone = try await disk.measure(bulkTasks: 0, urgent: .urgent)
            bar.advance()
            let plain = try await disk.measure(bulkTasks: Self.bulkTasks, urgent: .normal)
            bar.advance()
            let urgent = try await disk.measure(bulkTasks: Self.bulkTasks, urgent: .urgent)
            bar.advance()
            rounds.append(Round(bulkAlone: bulkAlone, alone: alone, plain: plain, urgent: urgent))
        }
        bar.finish()
        await disk.queue.shutdown()
        guard !rounds.isEmpty else { return }
        report(rounds, session)
    }

    private struct Round {
        let bulkAlone: LatencyDisk.Measurement
        let alone: LatencyDisk.Measurement
        let plain: LatencyDisk.Measurement
        let urgent: LatencyDisk.Measurement
    }

    private func report(_ rounds: [Round], _ session: BenchSession) {
        func median(_ value: (Round) -> Double) -> Double { rounds.map(value).median }
        var table = Table(
            indent: 2, [.left(""), .right("p50"), .right("p99"), .right("urgent reads/s"), .right("bulk MiB/s")])
        func row(_ name: String, _ which: (Round) -> LatencyDisk.Measurement) {
            let reads = median { Double(which($0).latencies.count) / which($0).seconds }
            let times = [\LatencyDisk.Measurement.p50, \.p99].map { percentile in
                reads == 0 ? "" : Units.time(nanoseconds: median { which($0)[keyPath: percentile] })
            }
            table.append(
                [name] + times + [
                    reads == 0 ? "" : Units.count(UInt64(reads)),
                    Units.fixed(median { which($0).bulkRate }, decimals: 0),
                ])
        }
        row("urgent reads alone", \.alone)
        row("the same, as normal, behind bulk", \.plain)
        row("urgent reads behind bulk", \.urgent)
        row("bulk alone", \.bulkAlone)
        session.report.note(
            "64 KiB direct reads behind \(Self.bulkTasks) bulk 1 MiB direct reads (median of \(rounds.count))")
        session.report.note(table.text)

        // Either 2.5 ms, or four times better than without priorities, whichever is easier on this disk.
        let (urgent, plain) = (median(\.urgent.p50), median(\.plain.p50))
        let limit = max(2.5e6, plain / 4)
        session.report.print(
            BenchLine(
                name: "urgent 64 KiB behind bulk, p50 \(Units.time(nanoseconds: urgent))",
                baseline: "limit \(Units.time(nanoseconds: limit))", ratio: limit / urgent, target: 1,
                runs: rounds.count,
                spread: rounds.map(\.urgent.p50).spread))
        session.report.print(
            BenchLine(
                name: "urgent 64 KiB behind bulk, p50", baseline: "without priorities", ratio: plain / urgent,
                target: nil, runs: rounds.count, spread: rounds.map(\.urgent.p50).spread))
        session.report.print(
            BenchLine(
                name: "urgent 64 KiB behind bulk, p99 \(Units.time(nanoseconds: median(\.urgent.p99)))",
                baseline: "without priorities", ratio: median(\.plain.p99) / median(\.urgent.p99), target: nil,
                runs: rounds.count, spread: rounds.map(\.urgent.p99).spread))
        session.report.print(
            BenchLine(
                name: "bulk throughput beside urgent reads", baseline: "bulk alone",
                ratio: median { $0.urgent.bulkRate / $0.bulkAlone.bulkRate }, target: 0.8, runs: rounds.count,
                spread: rounds.map(\.urgent.bulkRate).spread))
    }
}

/// A queue over the benchmark file, read directly: bulk reads one after another in many tasks, and beside them one task
/// that reads a small block, waits a moment, and reads the next.
private final class LatencyDisk: Sendable {
    struct Measurement: Sendable {
        var latencies: [Double] = []
        var bulkBytes = 0
        var seconds = 0.0

        var bulkRate: Double { Double(bulkBytes) / 1_048_576 / seconds }
        var p50: Double { percentile(0.5) }
        var p99: Double { percentile(0.99) }

        private func percentile(_ fraction: Double) -> Double {
            guard !latencies.isEmpty else { return .nan }
            let sorted = latencies.sorted()
            return sorted[min(sorted.count - 1, Int(fraction * Double(sorted.count)))]
        }
    }

    /// What the tasks of one measurement share.
    private final class BulkRun: Sendable {
        let isOver = Atomic<Bool>(false)
        let bytes = Atomic<Int>(0)
    }

    private static let bulkSize = 1 << 20
    private static let urgentSize = 64 << 10

    let queue: StorageQueue
    private let file: StorageFile
    private let bulk: HostBuffer
    private let small: HostBuffer
    private let bulkOffsets: [UInt64]
    private let smallOffsets: [UInt64]
    private let seconds: Double

    init(_ session: BenchSession, seconds: Double) async throws {
        queue = try StorageQueue()
        file = try await queue.open(FilePath(session.file.path), caching: .direct)
        bulk = try await queue.allocate(byteCount: 64 * Self.bulkSize)
        small = try await queue.allocate(byteCount: Self.urgentSize)
        bulkOffsets = session.file.randomOffsets(count: 4096, blockSize: Self.bulkSize, seed: session.seed)
        smallOffsets = session.file.randomOffsets(count: 4096, blockSize: Self.urgentSize, seed: session.seed &+ 1)
        self.seconds = seconds
    }

    func measure(bulkTasks: Int, urgent: StoragePriority?) async throws -> Measurement {
        let bulkRun = BulkRun()
        var measurement = Measurement()
        let start = Clock.wall()
        try await withThrowingTaskGroup(of: [Double].self) { group in
            for task in 0..<bulkTasks {
                let slice = bulk[task * Self.bulkSize..<(task + 1) * Self.bulkSize]
                group.addTask { [self] in
                    var index = task
                    while !bulkRun.isOver.load(ordering: .relaxed) {
                        let offset = bulkOffsets[index % bulkOffsets.count]
                        bulkRun.bytes.wrappingAdd(
                            try await queue.read(from: file, at: offset, into: slice), ordering: .relaxed)
                        index += bulkTasks
                    }
                    return []
                }
            }
            group.addTask { [self] in
                defer { bulkRun.isOver.store(true, ordering: .relaxed) }
                guard let urgent else {
                    try await Task.sleep(for: .seconds(seconds))
                    return []
                }
                return try await readUrgently(urgent, until: start + UInt64(seconds * 1e9))
            }
            for try await latencies in group { measurement.latencies += latencies }
        }
        measurement.seconds = Double(Clock.wall() - start) / 1e9
        measurement.bulkBytes = bulkRun.bytes.load(ordering: .relaxed)
        return measurement
    }

    private func readUrgently(_ priority: StoragePriority, until end: UInt64) async throws -> [Double] {
        var latencies: [Double] = []
        var index = 0
        while Clock.wall() < end {
            let offset = smallOffsets[index % smallOffsets.count]
            let before = Clock.wall()
            try await queue.read(from: file, at: offset, into: small, priority: priority)
            latencies.append(Double(Clock.wall() - before))
            guard small.withUnsafeBytes({ BenchContent.matches($0, at: offset) }) else {
                throw BenchError("penstock delivered wrong bytes for offset \(offset)")
            }
            index += 1
            // As a frame would: now and then, not back to back.
            try await Task.sleep(for: .milliseconds(2))
        }
        return latencies
    }
}

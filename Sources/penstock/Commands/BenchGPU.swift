import ArgumentParser
import Penstock
import PenstockVulkan

struct BenchGPU: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gpu",
        abstract: "Files into a GPU buffer, against hand-written uploaders.")

    @OptionGroup var options: BenchOptions

    @Option(help: ArgumentHelp("Run only the cases whose name starts with this.", valueName: "text"))
    var only: String?

    @Flag(help: "Run Penstock's side only, to profile it.")
    var alone = false

    /// Block sizes, and how many of each make a measurement.
    private static let sizes = [("4 KiB", 4096, 16384), ("64 KiB", 65536, 4096), ("1 MiB", 1 << 20, 1024)]

    func run() async throws {
        let session = try BenchSession(options, warm: true)
        let gpu = try GPUBench()
        session.report.note("\(gpu.direct.name)\n")
        let cases =
            batched(session, gpu) + tasks(session, gpu) + landing(session, gpu) + costs(session, gpu)
        for make in cases {
            guard only == nil || make.name.hasPrefix(only!), !Interrupt.isRequested else { continue }
            var made = try await make.build()
            if alone { made = BenchCase(made.name, figure: made.figure, subject: made.subject, baselines: []) }
            try await session.run(made)
        }
        if only == nil || "allocations".hasPrefix(only!) { try await reportAllocations(session, gpu) }
    }

    private struct LazyCase {
        let name: String
        let build: () async throws -> BenchCase
    }

    private func uploads(_ session: BenchSession, _ gpu: GPUBench, _ size: Int, _ count: Int) throws -> GPUUploads {
        let count = min(count, Int(session.file.size) / size)
        return try GPUUploads(gpu, session.file, blockSize: size, count: count, seed: session.seed)
    }

    /// Each pair is a case of its own: a baseline that sleeps for each request leaves threads on other cores than it found
    /// them, and whoever runs next pays for it.
    private func batched(_ session: BenchSession, _ gpu: GPUBench) -> [LazyCase] {
        Self.sizes.flatMap { name, size, count in
            let title = "\(name), staged, perform of 128"
            func pair(
                _ title: String, _ make: @escaping (GPUUploads) -> Contestant, target: Double?
            ) -> LazyCase {
                LazyCase(name: title) {
                    let uploads = try uploads(session, gpu, size, count)
                    let reads = try await GPUReads(uploads, direct: false)
                    return BenchCase(
                        title, subject: Contestant("penstock") { try await reads.batches(of: 128) },
                        baselines: [.init(make(uploads), target: target)])
                }
            }
            return [
                pair(title, { .stagingRing($0) }, target: 1.0),
                pair(title + ", against one submit each", { .submitEach($0) }, target: size <= 65536 ? 5 : nil),
            ]
        }
    }

    private func tasks(_ session: BenchSession, _ gpu: GPUBench) -> [LazyCase] {
        Self.sizes.map { name, size, count in
            let title = "\(name), staged, 128 tasks"
            return LazyCase(name: title) {
                let uploads = try uploads(session, gpu, size, count)
                let reads = try await GPUReads(uploads, direct: false)
                return BenchCase(
                    title, subject: Contestant("penstock") { try await reads.tasks(128) },
                    baselines: [.init(.stagingRing(uploads), target: size <= 4096 ? 0.5 : 0.9)])
            }
        }
    }

    private func landing(_ session: BenchSession, _ gpu: GPUBench) -> [LazyCase] {
        guard gpu.destination.mappedBytes != nil else { return [] }
        return Self.sizes.map { name, size, count in
            let title = "\(name), direct landing, 128 tasks"
            return LazyCase(name: title) {
                let uploads = try uploads(session, gpu, size, count)
                let reads = try await GPUReads(uploads, direct: true)
                let source = try AlignedBuffers(count: 1, size: GPUBench.destinationBytes)
                let target = try AlignedBuffers(count: 1, size: GPUBench.destinationBytes)
                return BenchCase(
                    title, subject: Contestant("penstock") { try await reads.tasks(128) },
                    baselines: [
                        .init(.preadMapped(uploads), target: 1.2), .init(.memcpy(uploads, from: source, to: target)),
                    ])
            }
        }
    }

    private func costs(_ session: BenchSession, _ gpu: GPUBench) -> [LazyCase] {
        let title = "64 KiB, staged, one task, latency"
        let cost = "64 KiB, staged, perform of 128, CPU per request"
        return [
            LazyCase(name: cost) {
                let uploads = try uploads(session, gpu, 65536, 4096)
                let reads = try await GPUReads(uploads, direct: false)
                return BenchCase(
                    cost, figure: .cpu, subject: Contestant("penstock") { try await reads.batches(of: 128) },
                    baselines: [.init(.stagingRing(uploads), target: 1 / 1.1)])
            },
            LazyCase(name: title) {
                let uploads = try uploads(session, gpu, 65536, 2048)
                let reads = try await GPUReads(uploads, direct: false)
                return BenchCase(
                    title, figure: .time, subject: Contestant("penstock") { try await reads.latency() },
                    baselines: [.init(.submitEach(uploads, latency: true), target: 1 / 1.5)])
            },
        ]
    }

    private func reportAllocations(_ session: BenchSession, _ gpu: GPUBench) async throws {
        guard AllocationCounter.isAvailable else { return }
        let uploads = try uploads(session, gpu, 4096, 16384)
        let reads = try await GPUReads(uploads, direct: false)
        for _ in 0..<2 { _ = try await reads.batches(of: 128) }
        guard let total = try await AllocationCounter.count({ _ = try await reads.batches(of: 128) }) else { return }
        let perRequest = Double(total) / Double(uploads.offsets.count)
        session.report.print(
            .limit(
                "allocations per request, staged, perform of 128: \(Units.fixed(perRequest, decimals: 3))",
                value: perRequest.rounded(), atMost: 0))
    }
}

import ArgumentParser
import Penstock
import PenstockArchive
import PenstockCompression
import PenstockVulkan
import SystemPackage

/// Streams an archive's entries into memory.
struct Stream: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stream an archive into a GPU's memory or the host's.",
        discussion: """
            Every chunk's checksum is checked on its way. On a GPU, each entry is read back and compared with what the workers \
            decode of it, unless --no-verify.
            """)

    /// Where the bytes go.
    enum Destination: String, CaseIterable, ExpressibleByArgument { case auto, gpu, host }

    /// Where they are decoded.
    enum Decoder: String, CaseIterable, ExpressibleByArgument {
        case auto, cpu, gpu

        var processor: DecodingPolicy.Processor {
            switch self {
            case .auto: .automatic
            case .cpu: .cpu
            case .gpu: .gpu
            }
        }
    }

    @OptionGroup var input: ArchiveArguments

    @Option(help: "Where to; auto: to a GPU, even a software one, if there is one.")
    var to = Destination.auto

    @Option(help: "Where to decode GDeflate on its way to a GPU; auto: wherever it is faster.")
    var decode = Decoder.auto

    @Flag(inversion: .prefixedNo, help: "Check chunks' checksums, and read back what a GPU has got.")
    var verify = true

    func run() async throws {
        Interrupt.install()
        let device = try makeDevice()
        try await withStorageQueue { queue in
            queue.setDecodingPolicy(DecodingPolicy(decode.processor, gpuTimeShare: 1))
            var options = StorageArchive.Options()
            options.verifiesChecksums = verify
            let archive = try await StorageArchive.open(input.paths, on: queue, options: options)
            let streaming = try await ArchiveStreaming(archive, device: device, readsBack: verify && device != nil)
            let bar = ArchiveBar("streaming", total: archive.entries.sum(\.size))
            let start = Clock.wall()
            let outcome = await streaming.run(bar)
            bar.finish()
            print(outcome, archive, queue, device, seconds: Double(Clock.wall() - start) / 1e9)
            if Interrupt.isRequested { throw ExitCode(130) }
            if !outcome.failures.isEmpty || outcome.different > 0 { throw ExitCode.failure }
        }
    }

    private func makeDevice() throws -> GPUDevice? {
        switch to {
        case .host: return nil
        case .gpu: return try GPUDevice()
        case .auto: return try? GPUDevice()
        }
    }

    private func print(
        _ outcome: ArchiveStreaming.Outcome, _ archive: StorageArchive, _ queue: StorageQueue, _ device: GPUDevice?,
        seconds: Double
    ) {
        for failure in outcome.failures.prefix(10) { writeToStandardError("\(failure)\n") }
        let stored = archive.entries.sum(\.storedSize)
        func rate(_ bytes: UInt64) -> String { Units.rate(bytesPerSecond: Double(bytes) / max(seconds, 1e-9)) }
        func time(_ nanoseconds: UInt64) -> String { Units.time(nanoseconds: Double(nanoseconds)) }
        var text = "\(PrintablePath(archive.files[0].path.string)), to \(device?.name ?? "host memory")\n\n"
        text += "  entries       \(Units.count(UInt64(outcome.entries))), \(outcome.failures.count) failed\n"
        text += "  compressed    \(Units.bytes(stored)), \(rate(stored))\n"
        text += "  decompressed  \(Units.bytes(outcome.bytes)), \(rate(outcome.bytes))\n"
        let latency = outcome.latency
        text += "  each MiB      p50 \(time(latency.p50)), p90 \(time(latency.percentile(0.9))), "
        text += "p99 \(time(latency.p99)), at most \(time(latency.max))\n"
        let statistics = queue.decodingStatistics
        for (name, work) in [("workers", statistics.cpu), ("GPU", statistics.gpu)] {
            guard work.chunks > 0 else { continue }
            let busy = time(work.nanoseconds)
            text += "  on the \(name.padded(to: 7)) \(Units.count(work.chunks)) chunks, "
            text += "\(Units.bytes(work.decodedBytes)) in \(busy)\n"
        }
        let decompressed = statistics.memoryDecompression.chunks
        if decompressed > 0 { text += "  of these      \(Units.count(decompressed)) by the GPU's driver\n" }
        if verify {
            text += "  verified      every chunk's checksum"
            if device != nil { text += "; read back from the GPU, \(outcome.different) entries differ" }
            text += "\n"
        }
        writeToStandardOutput(text)
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}

import ArgumentParser
import Glibc
import Penstock
import PenstockArchive

struct BenchArchive: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "archive",
        abstract: "Many small files: packed and streamed, against opening and reading each.",
        discussion: """
            Writes files of 256 bytes to 8 KiB, packs them, and streams the archive into host memory with every chunk's checksum \
            checked. An operation is a file; MiB/s are of uncompressed bytes. From the disk means that no file's bytes are in \
            the page cache, although the kernel still knows the loose files' names and places.
            """)

    @OptionGroup var rounds: RoundOptions

    @Option(help: ArgumentHelp("How many files.", valueName: "count"))
    var files = 100_000

    @Option(help: ArgumentHelp("Where the files and the archive go.", valueName: "path"), completion: .directory)
    var directory = "."

    mutating func validate() throws {
        guard (100...1_000_000).contains(files) else { throw ValidationError("--files is between 100 and a million") }
    }

    /// What packing or streaming may take, whatever the number of files up to 100,000.
    private static let memoryLimit = 128e6

    func run() async throws {
        let (report, seed) = rounds.begin()
        report.note("")
        let files = try SmallFiles(count: files, in: directory, seed: seed)
        for choice in [CodecChoice.lz4, .zstd, .gdeflate, .none] where !Interrupt.isRequested {
            try await withStorageQueue { queue in
                let runs = try await ArchiveRuns(files, try choice.codec(level: nil), on: queue)
                try await files.check(runs.archive)
                try await measure(choice, runs, files, report)
            }
        }
    }

    private func measure(
        _ choice: CodecChoice, _ packed: ArchiveRuns, _ files: SmallFiles, _ report: BenchReport
    ) async throws {
        let summary = packed.summary
        let ratio = Units.fixed(Double(summary.contentBytes) / Double(summary.fileSize), decimals: 2)
        let speed = Units.rate(bytesPerSecond: Double(summary.contentBytes) / packed.packingSeconds)
        report.note(
            "\(Units.count(UInt64(summary.entries))) files packed with \(choice): \(ratio) : 1, "
                + "\(Units.fixed(packed.packingSeconds, decimals: 1)) s, \(speed)\n")
        let before = PeakMemory.reset()
        _ = try await packed.stream()
        for (what, bytes) in [("packing", packed.packingMemory), ("streaming", PeakMemory.bytes() - before)] {
            let name = "\(choice), \(what) \(summary.entries) files, memory taken: \(Units.bytes(bytes))"
            report.print(.limit(name, value: Double(bytes), atMost: Self.memoryLimit))
        }
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let subject = Contestant("archive, \(choice)") { try await packed.streamCold() }
        // Threads that mostly wait for the disk: as many as it has work for.
        let loose = [cores, 32].map { Contestant.blockingLoads(files.list, threads: $0).from(disk: files) }
        report.print(
            try await BenchCase(
                "\(choice), small files from the disk", subject: subject,
                baselines: loose.map { .init($0, target: 3) }
            ).run(rounds: rounds.runs))
        report.print(
            try await BenchCase(
                "\(choice), small files from the page cache",
                subject: Contestant("archive, \(choice)") { try await packed.stream() },
                baselines: [.init(.blockingLoads(files.list, threads: cores))]
            ).run(rounds: rounds.runs))
    }
}

extension Contestant {
    /// The same, with nothing of the files in the page cache.
    fileprivate func from(disk files: SmallFiles) -> Contestant {
        Contestant(name) {
            try files.forget()
            return try await self.run()
        }
    }
}

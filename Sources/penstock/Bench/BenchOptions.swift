import ArgumentParser

/// The options that all benchmarks share.
struct RoundOptions: ParsableArguments {
    @Flag(help: "Print one JSON object a line instead of tables.")
    var json = false

    @Option(help: ArgumentHelp("Rounds to take the median of.", valueName: "count"))
    var runs = 7

    @Option(help: "Seed of what is left to chance, to repeat a run (default: a new one, printed).")
    var seed: UInt64?

    mutating func validate() throws {
        guard runs >= 5 else { throw ValidationError("a median of so few says little: give --runs 5 or more") }
    }

    /// Listens for Ctrl-C, and tells people what they need to know to judge and to repeat the figures.
    func begin() -> (report: BenchReport, seed: UInt64) {
        Interrupt.install()
        let report = BenchReport(format: json ? .json : .tables)
        let seed = seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
        report.note("seed \(seed)")
        #if DEBUG
        writeToStandardError("warning: this is a debug build; its figures mean nothing\n")
        #endif
        return (report, seed)
    }
}

/// The options of the benchmarks that read parts of one large file.
struct BenchOptions: ParsableArguments {
    @OptionGroup var rounds: RoundOptions

    @Option(
        help: ArgumentHelp(
            "Where to keep the benchmark file (default: penstock-bench in the user's cache directory).",
            valueName: "path"),
        completion: .directory)
    var directory: String?

    @Option(help: ArgumentHelp("Size of the benchmark file in MiB.", valueName: "MiB"))
    var size: UInt64 = 1024

    mutating func validate() throws {
        guard (16...1 << 20).contains(size) else { throw ValidationError("--size is between 16 MiB and 1 TiB") }
    }
}

/// One run of `penstock bench`: what its cases have in common.
struct BenchSession: Sendable {
    let report: BenchReport
    let rounds: Int
    let seed: UInt64
    let file: BenchFile

    /// Makes sure that the file is there, and in the page cache if `warm`.
    init(_ options: BenchOptions, warm: Bool) throws {
        (report, seed) = options.rounds.begin()
        rounds = options.rounds.runs
        file = try BenchFile.prepare(in: options.directory, size: options.size << 20)
        report.note(file.path)
        if warm {
            let resident = try file.warm()
            if resident < 0.99 {
                writeToStandardError(
                    "warning: only \(Int(resident * 100)) % of the file fits in the page cache; use a smaller --size\n")
            }
        }
        report.note("")
    }

    /// Runs a case and prints its result at once; does nothing once Ctrl-C has been pressed.
    func run(_ benchCase: BenchCase) async throws {
        guard !Interrupt.isRequested else { return }
        report.print(try await benchCase.run(rounds: rounds))
    }
}

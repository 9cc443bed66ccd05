import ArgumentParser

@main
struct Main: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "penstock",
        abstract: "DirectStorage for Linux: archives, what this machine offers, and how fast it is.",
        subcommands: [Pack.self, List.self, Verify.self, Extract.self, Stream.self, Doctor.self, Bench.self])
}

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure Penstock against baselines in the same run.",
        discussion: "The exit status is 0 whether or not the targets are met.",
        subcommands: [BenchRead.self, BenchLatency.self, BenchGPU.self, BenchDecode.self, BenchArchive.self])
}

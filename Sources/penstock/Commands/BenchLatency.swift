import ArgumentParser
struct BenchLatency: AsyncParsableCommand { static let configuration = CommandConfiguration(commandName: "latency") }

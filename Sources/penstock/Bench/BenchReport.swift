/// Prints results as they come, so that a run that is cut short leaves behind what it had: a table for each case, or
/// with `--json` one object a line.
struct BenchReport: Sendable {
    enum Format: Sendable {
        case tables, json
    }

    let format: Format

    /// Prints a case's result; nothing if not even one round was complete.
    func print(_ result: BenchResult) {
        guard result.rounds > 0 else { return }
        switch format {
        case .tables: writeToStandardOutput(Self.table(of: result))
        case .json: for line in result.lines { print(json: line) }
        }
    }

    /// Prints a line that did not come from a ``BenchCase``.
    func print(_ line: BenchLine) {
        switch format {
        case .tables: writeToStandardOutput(Self.text(of: line))
        case .json: print(json: line)
        }
    }

    /// Prints something for people, which has no place in JSON: the seed, a heading, a hint.
    func note(_ text: String) {
        if format == .tables { writeToStandardOutput(text + "\n") }
    }

    private func print(json line: BenchLine) {
        writeToStandardOutput(line.json.text + "\n")
    }

    /// The case's name, then each contestant's own figures, so that a ratio can be checked by eye.
    static func table(of result: BenchResult) -> String {
        let benchCase = result.benchCase
        var columns: [Table.Column] = [.left(""), .right("ops/s"), .right("MiB/s"), .right("CPU µs/op")]
        if benchCase.figure == .time { columns.append(.right("time")) }
        var table = Table(indent: 2, columns + [.right("spread"), .right("ratio"), .left("target")])

        func row(_ name: String, _ series: Series, ratio: String, target: String) {
            var cells = [
                name,
                Units.count(UInt64(series.median(\.operationsPerSecond).rounded())),
                Units.fixed(series.median(\.mebibytesPerSecond), decimals: 0),
                Units.fixed(series.median(\.cpuMicrosecondsPerOperation), decimals: 2),
            ]
            if benchCase.figure == .time {
                cells.append(Units.time(nanoseconds: series.median(\.nanosecondsPerOperation)))
            }
            cells.append(percent(series.spread(benchCase.figure.value(of:))))
            table.append(cells + [ratio, target])
        }

        row(benchCase.subject.name, result.subject, ratio: "", target: "")
        for (index, line) in result.lines.enumerated() where line.baseline != nil {
            let ratio = Units.fixed(line.ratio ?? .nan, decimals: 2)
            row(line.baseline ?? "", result.baselines[index], ratio: ratio, target: verdict(line))
        }
        return "\(benchCase.name) (median of \(result.rounds))\n\(table.text)\n"
    }

    private static func text(of line: BenchLine) -> String {
        let ratio = line.ratio.map { "  ratio \(Units.fixed($0, decimals: 2))" } ?? ""
        let against = line.baseline.map { "  against \($0)" } ?? ""
        return "\(line.name)\(against)\(ratio)  \(verdict(line))\n\n"
    }

    private static func verdict(_ line: BenchLine) -> String {
        guard let target = line.target, let isMet = line.isMet else { return "" }
        return "≥ \(Units.fixed(target, decimals: 2)) \(isMet ? "met" : "MISSED")"
    }

    private static func percent(_ fraction: Double) -> String {
        Units.fixed(fraction * 100, decimals: 0) + " %"
    }
}

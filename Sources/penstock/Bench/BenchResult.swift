/// What came out of a case: a series for each contestant, all of the same length.
struct BenchResult: Sendable {
    let benchCase: BenchCase
    private(set) var subject = Series()
    private(set) var baselines: [Series]

    init(_ benchCase: BenchCase) {
        self.benchCase = benchCase
        baselines = Array(repeating: Series(), count: benchCase.baselines.count)
    }

    /// The complete rounds.
    var rounds: Int { subject.samples.count }

    /// Adds a round: the subject's sample, then each baseline's.
    mutating func append(_ round: [Sample]) {
        precondition(round.count == baselines.count + 1, "a round has a sample of every contestant")
        subject.samples.append(round[0])
        for index in baselines.indices { baselines[index].samples.append(round[index + 1]) }
    }

    /// The median over the rounds of the ratio within each round. Taken within the round, because what disturbs one
    /// contestant there disturbs the others too, and cancels out.
    func ratio(toBaseline index: Int) -> Double {
        zip(subject.samples, baselines[index].samples).map(benchCase.figure.ratio(of:to:)).median
    }

    /// A line for each baseline, or one line without a baseline if the case has none.
    var lines: [BenchLine] {
        guard rounds > 0 else { return [] }
        if baselines.isEmpty { return [line(baseline: nil, ratio: nil, target: nil)] }
        return baselines.indices.map { index in
            let baseline = benchCase.baselines[index]
            return line(
                baseline: baseline.contestant.name, ratio: ratio(toBaseline: index), target: baseline.target)
        }
    }

    private func line(baseline: String?, ratio: Double?, target: Double?) -> BenchLine {
        BenchLine(
            name: benchCase.name,
            operationsPerSecond: subject.median(\.operationsPerSecond),
            mebibytesPerSecond: subject.median(\.mebibytesPerSecond),
            cpuMicrosecondsPerOperation: subject.median(\.cpuMicrosecondsPerOperation),
            baseline: baseline, ratio: ratio, target: target,
            runs: rounds, spread: subject.spread(benchCase.figure.value(of:)))
    }
}

/// One line of `penstock bench … --json`: a case held against one baseline.
struct BenchLine: Sendable {
    var name: String
    var operationsPerSecond: Double?
    var mebibytesPerSecond: Double?
    var cpuMicrosecondsPerOperation: Double?
    var baseline: String?
    /// How many times as good as the baseline: more is better, whatever is measured.
    var ratio: Double?
    /// The ratio to reach; `nil` if the line is only for information.
    var target: Double?
    var runs: Int
    /// (largest − smallest) ÷ median of what is measured.
    var spread: Double?

    /// Whether the target is met; `nil` if there is none.
    var isMet: Bool? { target.map { (ratio ?? -.infinity) >= $0 } }

    /// A value that must not exceed a limit (memory, allocations) as a line: the ratio is limit ÷ value, to reach 1.
    /// Where the limit is zero, the ratio is 1 for zero and 0 for anything more. The name should tell the value.
    static func limit(_ name: String, value: Double, atMost limit: Double, runs: Int = 1) -> BenchLine {
        BenchLine(
            name: name, baseline: "limit \(Units.fixed(limit, decimals: limit.rounded() == limit ? 0 : 2))",
            ratio: value <= 0 ? 1 : limit / value, target: 1, runs: runs)
    }

    /// The line as an object with the same ten keys whatever was measured.
    var json: JSONLine {
        func rounded(_ value: Double?) -> JSONValue { .number(value.map { ($0 * 10_000).rounded() / 10_000 }) }
        return [
            "case": .string(name),
            "ops_per_s": rounded(operationsPerSecond),
            "mib_per_s": rounded(mebibytesPerSecond),
            "cpu_us_per_op": rounded(cpuMicrosecondsPerOperation),
            "baseline": baseline.map { .string($0) } ?? .null,
            "ratio": rounded(ratio),
            "target": rounded(target),
            "met": isMet.map { .boolean($0) } ?? .null,
            "runs": .integer(Int64(runs)),
            "spread": rounded(spread),
        ]
    }
}

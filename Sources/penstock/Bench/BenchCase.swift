/// One way to do the work of a case: Penstock, or a baseline.
struct Contestant: Sendable {
    let name: String
    /// Does all the work once and says what it cost. Runs on the global executor whoever asks, so that no contestant's
    /// figures depend on the caller's actor.
    let run: @concurrent @Sendable () async throws -> Sample

    init(_ name: String, run: @concurrent @escaping @Sendable () async throws -> Sample) {
        self.name = name
        self.run = run
    }
}

/// What a case compares.
enum Figure: Sendable {
    /// Operations per second: more is better.
    case rate
    /// Nanoseconds per operation, or what the sample says it measured: less is better.
    case time
    /// CPU time per operation, of all threads: less is better.
    case cpu

    func value(of sample: Sample) -> Double {
        switch self {
        case .rate: sample.operationsPerSecond
        case .time: sample.nanosecondsPerOperation
        case .cpu: sample.cpuMicrosecondsPerOperation
        }
    }

    /// How many times as good `subject` is as `baseline`: more is better for both figures.
    func ratio(of subject: Sample, to baseline: Sample) -> Double {
        switch self {
        case .rate: value(of: subject) / value(of: baseline)
        case .time, .cpu: value(of: baseline) / value(of: subject)
        }
    }
}

/// A subject and the baselines it is held against, all doing the same work.
struct BenchCase: Sendable {
    /// A contestant and the ratio that the subject should reach against it, if one is set.
    struct Baseline: Sendable {
        let contestant: Contestant
        let target: Double?

        init(_ contestant: Contestant, target: Double? = nil) {
            self.contestant = contestant
            self.target = target
        }
    }

    let name: String
    let figure: Figure
    let subject: Contestant
    let baselines: [Baseline]

    init(_ name: String, figure: Figure = .rate, subject: Contestant, baselines: [Baseline]) {
        self.name = name
        self.figure = figure
        self.subject = subject
        self.baselines = baselines
    }

    /// Runs all contestants `rounds` times in turn, each round starting with the next one: a machine that grows hot,
    /// or a neighbour that wakes up, then slows all of them and not only the last. One round before goes unmeasured.
    ///
    /// Stops between two runs once Ctrl-C has been pressed; the result then holds the rounds that were complete.
    func run(rounds: Int) async throws -> BenchResult {
        precondition(rounds > 0, "a case runs at least one round")
        let contestants = [subject] + baselines.map(\.contestant)
        let bar = ProgressBar(name, total: UInt64(contestants.count * (rounds + 1)), unit: .items)
        defer { bar.finish() }

        var result = BenchResult(self)
        warmUpAndRounds: for round in -1..<rounds {
            var samples = [Sample?](repeating: nil, count: contestants.count)
            for turn in contestants.indices {
                if Interrupt.isRequested { break warmUpAndRounds }
                let index = (turn + round + 1) % contestants.count
                samples[index] = try await contestants[index].run()
                bar.advance()
            }
            if round >= 0 { result.append(samples.compactMap(\.self)) }
        }
        return result
    }
}

/// What one run of one contestant cost.
struct Sample: Sendable {
    /// From the first operation's start to the last one's end.
    var wallNanoseconds: UInt64
    /// CPU time of the whole process meanwhile, all threads.
    var cpuNanoseconds: UInt64
    var operations: UInt64
    var bytes: UInt64
    /// The time that the case is about, where it is not wall time ÷ operations: a p50, for instance.
    var measuredNanoseconds: Double?

    var operationsPerSecond: Double { Double(operations) / seconds }
    var mebibytesPerSecond: Double { Double(bytes) / 1_048_576 / seconds }
    var cpuMicrosecondsPerOperation: Double { Double(cpuNanoseconds) / 1000 / Double(max(operations, 1)) }
    var nanosecondsPerOperation: Double {
        measuredNanoseconds ?? Double(wallNanoseconds) / Double(max(operations, 1))
    }

    private var seconds: Double { Double(max(wallNanoseconds, 1)) / 1e9 }

    /// Times `body`, which does `operations` operations on `bytes` bytes in all. Set up before, verify after.
    static func measure(operations: Int, bytes: UInt64, _ body: () async throws -> Void) async rethrows -> Sample {
        let cpu = Clock.processCPU()
        let wall = Clock.wall()
        try await body()
        let elapsed = Clock.wall() - wall
        return Sample(
            wallNanoseconds: elapsed, cpuNanoseconds: Clock.processCPU() - cpu,
            operations: UInt64(operations), bytes: bytes)
    }
}

/// The samples of one contestant, one for each round.
struct Series: Sendable {
    var samples: [Sample] = []

    /// The middle value over the rounds.
    func median(_ figure: (Sample) -> Double) -> Double { samples.map(figure).median }

    /// How far the rounds lie apart: (largest − smallest) ÷ median.
    func spread(_ figure: (Sample) -> Double) -> Double { samples.map(figure).spread }
}

extension [Double] {
    /// The middle value; of an even number, the mean of the middle two. NaN if there are none.
    var median: Double {
        guard !isEmpty else { return .nan }
        let sorted = sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }

    /// (largest − smallest) ÷ median. NaN if there are none.
    var spread: Double {
        guard let smallest = self.min(), let largest = self.max() else { return .nan }
        return (largest - smallest) / median
    }
}

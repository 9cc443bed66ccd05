import TestSupport
import Testing

@testable import Penstock

/// Percentiles are right within the width of a bucket.
@Suite struct HistogramBounds {
    @Test func everyValueLiesInItsBucketAndNoBucketIsWiderThanAnEighth() {
        var values = (0..<4096).map(UInt64.init)
        for exponent in 12..<40 { values += [-1, 0, 1, 12345 % (1 << exponent)].map { UInt64(1 << exponent + $0) } }
        for value in values where value < 1 << 40 {
            let bucket = LatencyHistogram.bucket(of: value)
            #expect(value <= LatencyHistogram.upperBound(of: bucket))
            guard bucket > 0 else { continue }
            let lower = LatencyHistogram.upperBound(of: bucket - 1)
            #expect(value > lower)
            #expect(Double(LatencyHistogram.upperBound(of: bucket) - lower) <= max(1, Double(lower + 1) / 8))
        }
    }

    @Test func percentilesAreWithinThirteenPercentAndNeverTooSmall() {
        forEachSeed("percentiles", count: 200) { random in
            var histogram = LatencyHistogram()
            var values = (0..<(1 + random.below(500))).map { _ in random.next() >> UInt64(25 + random.below(38)) }
            values.forEach { histogram.record($0) }
            values.sort()
            for fraction in [0, 0.01, 0.5, 0.9, 0.99, 1] {
                let rank = max(1, Int((fraction * Double(values.count)).rounded(.up)))
                let (exact, told) = (values[rank - 1], histogram.percentile(fraction))
                #expect(told >= exact && Double(told) <= Double(exact) * 1.13 + 1, "seed \(random.seed), \(fraction)")
            }
            #expect(histogram.max == values.last! && histogram.count == UInt64(values.count))
        }
    }

    @Test func emptyHistogramSaysZero() {
        let histogram = LatencyHistogram()
        #expect(histogram.p50 == 0 && histogram.p99 == 0 && histogram.max == 0 && histogram.count == 0)
    }

    @Test func mergedHistogramsSayWhatOneWould() {
        var (first, second, both) = (LatencyHistogram(), LatencyHistogram(), LatencyHistogram())
        for value in 0..<1000 as Range<UInt64> {
            if value % 3 == 0 { first.record(value * value) } else { second.record(value * value) }
            both.record(value * value)
        }
        first.merge(second)
        first.merge(LatencyHistogram())
        #expect(first.buckets == both.buckets && first.count == both.count && first.max == both.max)
    }

    @Test func valuesPastTheLastBucketAreCounted() {
        var histogram = LatencyHistogram()
        histogram.record(.max)
        #expect(histogram.count == 1 && histogram.max == .max)
    }

    @Test func inlineCountsOfAllThreadsAddUp() async {
        let recorder = InlineRecorder()
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for _ in 0..<1000 { _ = recorder.end(recorder.begin(.high), bytes: task) }
                }
            }
        }
        var statistics = Statistics(driver: .threads)
        recorder.add(to: &statistics)
        let flow = statistics.flow(.inline, .high)
        #expect(flow.requests == 8000 && flow.bytes == 28_000)
        // One in eight is measured; threads that share a shard may measure a few more or less.
        #expect((1...8000).contains(flow.latency.count) && flow.latency.max > 0)
        #expect(statistics.requests == 8000 && statistics.bytesRead == 28_000)
    }
}

import TestSupport
import Testing

@testable import PenstockCompression

/// The lanes as the format describes them, read one bit after the other.
private struct LaneReader {
    let words: [UInt32]
    private var next = 32
    private var lanes: [[UInt32]]

    init(_ words: [UInt32]) {
        self.words = words
        lanes = words.prefix(32).map { Self.bits(of: $0) }
    }

    private static func bits(of word: UInt32) -> [UInt32] { (0..<32).map { word >> UInt32($0) & 1 } }

    mutating func take(_ count: Int, lane: Int) -> UInt64 {
        let value = lanes[lane].prefix(count).enumerated().reduce(0) { $0 | UInt64($1.element) << UInt64($1.offset) }
        lanes[lane].removeFirst(count)
        if lanes[lane].count < 32 {
            lanes[lane] += Self.bits(of: words[next])
            next += 1
        }
        return value
    }

    var hasTakenAll: Bool { next == words.count }
}

@Suite struct LaneWriterTests {
    @Test func eachLaneFindsItsBits() {
        forEachSeed("lanes", count: 20) { random in
            let lanes = UnsafeMutablePointer<LaneWriter.Lane>.allocate(capacity: LaneWriter.laneCount)
            defer { lanes.deallocate() }
            var words = [UInt32](repeating: 0xA5A5_A5A5, count: 4000)
            let puts = (0..<random.below(1500)).map { _ in
                let count = 1 + random.below(31)
                let lane = random.chance(20) ? 0 : random.below(32)
                return (bits: random.next() & (1 << UInt64(count) - 1), count: count, lane: lane)
            }
            let size = words.withUnsafeMutableBytes { bytes in
                var writer = LaneWriter(lanes: lanes, destination: bytes.baseAddress!)
                for put in puts { writer.put(put.bits, count: UInt32(put.count), lane: put.lane) }
                return writer.finish()
            }
            var reader = LaneReader(Array(words[..<(size / 4)]))
            for put in puts {
                #expect(reader.take(put.count, lane: put.lane) == put.bits, "seed \(random.seed)")
            }
            #expect(reader.hasTakenAll, "seed \(random.seed)")
        }
    }
}

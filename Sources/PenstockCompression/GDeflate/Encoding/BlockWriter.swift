/// Writes blocks, each as the cheapest of the three kinds.
final class BlockWriter {
    private enum Kind: UInt64 {
        case stored = 0
        case fixed = 1
        case dynamic = 2
    }

    /// The most that the 16 bits of a stored block's size can say.
    private static let largestStored = 65535
    private static let headerBits: UInt32 = 3
    private static let storedSizeBits: UInt32 = 16

    /// So many visits are gathered before they are written: few enough for the first cache. A multiple of the lanes.
    private static let visitBatch = 1024
    /// Room for a batch, the longest sequence after it, and the distances that are still to come.
    private static let visitCapacity = visitBatch + SequenceWriter.longestRun + 4 * LaneWriter.laneCount

    private let lanes = UnsafeMutablePointer<LaneWriter.Lane>.allocate(capacity: LaneWriter.laneCount)
    /// What each visit of a lane writes, as ``HuffmanCode`` has it: a codeword and its extra bits above how many they are.
    private let visits = UnsafeMutablePointer<UInt64>.allocate(capacity: visitCapacity)
    private let builder = CodeLengthBuilder()
    private let header = DynamicHeader()
    private let literals = HuffmanCode.allocate(symbolCount: Histogram.firstDistance)
    private let distances = HuffmanCode.allocate(symbolCount: Alphabet.distanceCount)
    private let fixedLiterals = HuffmanCode.allocate(symbolCount: Histogram.firstDistance)
    private let fixedDistances = HuffmanCode.allocate(symbolCount: Alphabet.distanceCount)

    init() {
        for symbol in 0..<fixedLiterals.symbolCount {
            fixedLiterals.lengths[symbol] = Alphabet.fixedCodeLength(symbol)
        }
        fixedDistances.lengths.update(repeating: Alphabet.fixedDistanceCodeLength, count: fixedDistances.symbolCount)
        fixedLiterals.assignCodewords()
        fixedDistances.assignCodewords()
    }

    deinit {
        lanes.deallocate()
        visits.deallocate()
        for code in [literals, distances, fixedLiterals, fixedDistances] { code.deallocate() }
    }

    func page(at destination: UnsafeMutableRawPointer) -> LaneWriter {
        LaneWriter(lanes: lanes, destination: destination)
    }

    /// Writes one block, or several stored ones.
    func write(
        _ block: Block, _ sequences: UnsafePointer<LZSequence>, source: UnsafePointer<UInt8>, isLast: Bool,
        to writer: inout LaneWriter
    ) {
        let histogram = block.histogram
        histogram.counts[Alphabet.endOfBlock] = 1
        builder.assign(
            literals.lengths, for: histogram.counts, count: Alphabet.usedSymbolCount, limit: Alphabet.longestCode)
        builder.assign(
            distances.lengths, for: histogram.distances, count: Alphabet.distanceCount, limit: Alphabet.longestCode)
        let extraBits = histogram.extraBits
        let dynamicBits =
            header.build(literals: literals, distances: distances, builder: builder)
            + literals.cost(histogram.counts) + distances.cost(histogram.distances) + extraBits
        let fixedBits =
            fixedLiterals.cost(histogram.counts) + fixedDistances.cost(histogram.distances) + extraBits
        let storedBlocks = (block.size + Self.largestStored - 1) / Self.largestStored
        let storedBits =
            8 * block.size + storedBlocks * Int(Self.storedSizeBits) + (storedBlocks - 1) * Int(Self.headerBits)
        if storedBits <= min(dynamicBits, fixedBits) {
            writeStored(source + block.start, count: block.size, isLast: isLast, to: &writer)
        } else if fixedBits <= dynamicBits {
            writeHeader(.fixed, isLast: isLast, to: &writer)
            writeBody(block, sequences, source, fixedLiterals, fixedDistances, to: &writer)
        } else {
            literals.assignCodewords()
            distances.assignCodewords()
            writeHeader(.dynamic, isLast: isLast, to: &writer)
            header.write(to: &writer)
            writeBody(block, sequences, source, literals, distances, to: &writer)
        }
    }

    /// Writes bytes as they are.
    func writeStored(_ source: UnsafePointer<UInt8>, count: Int, isLast: Bool, to writer: inout LaneWriter) {
        var written = 0
        while written < count {
            let size = min(count - written, Self.largestStored)
            writeHeader(.stored, isLast: isLast && written + size == count, to: &writer)
            writer.put(UInt64(size), count: Self.storedSizeBits, lane: 0)
            for index in 0..<size {
                writer.put(UInt64(source[written &+ index]), count: 8, lane: index % LaneWriter.laneCount)
            }
            written += size
        }
    }

    private func writeHeader(_ kind: Kind, isLast: Bool, to writer: inout LaneWriter) {
        writer.put((isLast ? 1 : 0) | kind.rawValue << 1, count: Self.headerBits, lane: 0)
    }

    /// Deals the symbols to the lanes, from lane 0. A match's distance comes when its lane has its turn again.
    private func writeBody(
        _ block: Block, _ sequences: UnsafePointer<LZSequence>, _ source: UnsafePointer<UInt8>,
        _ literals: HuffmanCode, _ distances: HuffmanCode, to writer: inout LaneWriter
    ) {
        let visits = visits
        let literalEntries = literals.entries
        let distanceEntries = distances.entries
        var output = writer
        var literal = source + block.start
        // The next visit, and which of those from there on are taken by distances, the next one lowest.
        var visit = 0
        var taken: UInt64 = 0

        @inline(__always)
        func putNext(_ bits: UInt64) {
            let skipped = (~taken).trailingZeroBitCount
            visit &+= skipped
            visits[visit] = bits
            visit &+= 1
            taken = taken &>> UInt64(truncatingIfNeeded: skipped &+ 1)
        }

        for index in block.first..<block.end {
            let sequence = sequences[index]
            for _ in 0..<sequence.literals {
                putNext(UInt64(literalEntries[Int(literal.pointee)]))
                literal += 1
            }
            if sequence.length > 0 {
                literal += Int(sequence.length)
                putNext(
                    Self.bits(
                        literalEntries[Alphabet.firstLength &+ sequence.lengthIndex],
                        extra: Int(sequence.length) &- Alphabet.shortestMatch,
                        extraBits: Alphabet.lengthExtraBits(sequence.lengthIndex)))
                visits[visit &- 1 &+ LaneWriter.laneCount] = Self.bits(
                    distanceEntries[sequence.distanceSymbol], extra: Int(sequence.distance) &- 1,
                    extraBits: Alphabet.distanceExtraBits(sequence.distanceSymbol))
                taken |= 1 &<< UInt64(LaneWriter.laneCount &- 1)
            }
            guard visit >= Self.visitBatch else { continue }
            // Whole rounds, so that a visit's lane follows from its place.
            let written = visit / LaneWriter.laneCount * LaneWriter.laneCount
            Self.write(visits, count: written, to: &output)
            visits.update(from: visits + written, count: visit &- written &+ LaneWriter.laneCount)
            visit &-= written
        }
        putNext(UInt64(literalEntries[Alphabet.endOfBlock]))
        // One more visit of each lane, for the distances that are left.
        for next in 0..<LaneWriter.laneCount where taken &>> UInt64(next) & 1 == 0 { visits[visit &+ next] = 0 }
        Self.write(visits, count: visit + LaneWriter.laneCount, to: &output)
        writer = output
    }

    @inline(__always)
    private static func write(_ visits: UnsafePointer<UInt64>, count: Int, to writer: inout LaneWriter) {
        for visit in 0..<count {
            let bits = visits[visit]
            writer.put(
                bits &>> 8, count: UInt32(truncatingIfNeeded: bits & 0xFF), lane: visit % LaneWriter.laneCount)
        }
    }

    /// An entry of a code with the lowest bits of `extra`.
    @inline(__always)
    private static func bits(_ entry: UInt32, extra: Int, extraBits: Int) -> UInt64 {
        let count = UInt64(truncatingIfNeeded: extraBits)
        let low = UInt64(truncatingIfNeeded: extra) & (1 &<< count &- 1)
        return UInt64(entry) &+ count | low &<< (UInt64(entry & 0xFF) &+ 8)
    }
}

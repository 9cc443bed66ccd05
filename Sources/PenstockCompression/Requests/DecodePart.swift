import Penstock

/// What is wanted of one chunk, and where it goes.
struct DecodePart: @unchecked Sendable {  // the destination is one worker's at a time, until the call returns
    /// Who can write to a destination.
    enum Reach {
        /// The kernel and decoders.
        case host
        /// Decoders; the kernel may not be able to.
        case mapped
        /// Only those who read nothing there: the processor does not cache it.
        case writeCombined
    }

    /// The request's place in its batch.
    let request: Int
    let chunk: EncodedChunk
    /// Which of the chunk's decoded bytes are wanted.
    let wanted: Range<Int>
    /// Where they go: the caller's memory, which is its workers' until the call returns.
    let destination: UnsafeMutableRawPointer
    let reach: Reach

    /// Whether the decoder can write where the bytes are to go: it reads what it has written.
    var goesStraight: Bool { reach != .writeCombined && wanted.count == chunk.decodedCount }
    /// Whether it costs less to decode the chunk elsewhere, and to copy each of its parts from there, than to decode it for
    /// each: there will be others, as it is large.
    var isWorthKeeping: Bool {
        wanted.count < chunk.decodedCount && chunk.isLarge && chunk.decodedCount <= DecodingRequest.largestChunk
    }
    /// Whether the bytes in the file are what is wanted, and the kernel can put them where they are to go.
    var isPlain: Bool { reach == .host && chunk.isStored && wanted.count == chunk.decodedCount }
}

/// Neighbouring chunks of one file, or of one stretch of memory, that are read together.
struct DecodeGroup {
    /// Bytes in the file that are read together, at most, unless a chunk has more: few enough that all processors share
    /// even a small request, enough for small files to cost one system call for many.
    static let largestRead = 128 << 10
    /// The same of decoded bytes.
    static let largestDecoded = 256 << 10
    /// Bytes between two chunks that are read rather than left out: a page, the least that is read from a disk.
    static let largestGap = 4096

    let source: DecodingRequest.Source
    let offset: UInt64
    var count: Int
    /// The places of the group's parts.
    var parts: Range<Int>

    /// The decoded bytes of its chunks.
    var decodedCount: Int

    init(_ part: DecodePart, at index: Int, of source: DecodingRequest.Source) {
        self.source = source
        offset = part.chunk.offset
        count = part.chunk.count
        parts = index..<index + 1
        decodedCount = part.chunk.decodedCount
    }

    /// The same with the places that its parts have by themselves.
    var alone: DecodeGroup {
        var group = self
        group.parts = 0..<parts.count
        return group
    }

    /// Takes in the part that follows the group's last one, if it is a neighbour in the file.
    mutating func append(_ part: DecodePart, of source: DecodingRequest.Source) -> Bool {
        let end = offset + UInt64(count)
        guard self.source == source, part.chunk.offset >= end, part.chunk.offset - end <= Self.largestGap else {
            return false
        }
        let newCount = Int(part.chunk.offset - offset) + part.chunk.count
        // Subtracted: chunks of different requests may claim more together than there are numbers.
        guard newCount <= Self.largestRead, part.chunk.decodedCount <= Self.largestDecoded - decodedCount else {
            return false
        }
        count = newCount
        decodedCount += part.chunk.decodedCount
        parts = parts.lowerBound..<parts.upperBound + 1
        return true
    }
}

/// Where each chunk's bytes begin among the decoded bytes of all: so a long request, which is filled stretch by stretch, is
/// not searched from its beginning for each of them.
struct ChunkStarts: Sendable {
    private let starts: [Int]

    /// Of a request that has been checked.
    init(_ chunks: [EncodedChunk]) {
        var starts = [0]
        starts.reserveCapacity(chunks.count + 1)
        for chunk in chunks { starts.append(starts[starts.count - 1] + chunk.decodedCount) }
        self.starts = starts
    }

    subscript(place: Int) -> Int { starts[place] }

    /// The first chunk that ends behind a position; the number of chunks if there is none.
    func place(of position: Int) -> Int {
        var (low, high) = (0, starts.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if starts[middle + 1] <= position { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension EncodedChunk {
    /// Not to be decoded twice.
    fileprivate var isLarge: Bool { !isStored && decodedCount > 128 << 10 }
}

extension DecodingRequest {
    /// Where a stretch of the destination ends that is to have about so many bytes: not within a large chunk.
    func end(ofStretchFrom start: Int, _ count: Int, before upperBound: Int, _ starts: ChunkStarts) -> Int {
        guard upperBound - start > count else { return upperBound }
        let end = start + count
        let place = starts.place(of: range.lowerBound + end)
        guard place < chunks.count, chunks[place].isLarge else { return end }
        let chunkStart = starts[place] - range.lowerBound
        return chunkStart == end ? end : min(chunkStart + chunks[place].decodedCount, upperBound)
    }

    /// The largest chunk, encoded or decoded, that can be had in part or comes from a disk: what a worker, or the landing
    /// memory, can be asked for.
    static let largestChunk = CodecWorkers.landingLimit / 2

    /// The parts of a request, which has been checked, that fill a range of its destination.
    ///
    /// - Parameters:
    ///   - range: Of the destination's bytes.
    ///   - memory: Where the range's first byte goes.
    ///   - starts: Where the chunks begin; nil: the range is not searched for, as when it begins with the first.
    func parts(
        for range: Range<Int>, _ index: Int, at memory: UnsafeMutableRawPointer, _ reach: DecodePart.Reach,
        _ starts: ChunkStarts? = nil, into parts: inout [DecodePart]
    ) {
        let wanted = self.range.lowerBound + range.lowerBound..<self.range.lowerBound + range.upperBound
        let first = starts?.place(of: wanted.lowerBound) ?? 0
        var start = starts?[first] ?? 0
        for chunk in chunks[first...] {
            if start >= wanted.upperBound { break }
            let end = start + chunk.decodedCount
            let lower = max(start, wanted.lowerBound)
            let upper = min(end, wanted.upperBound)
            if lower < upper {
                let part = DecodePart(
                    request: index, chunk: chunk, wanted: lower - start..<upper - start,
                    destination: memory + (lower - wanted.lowerBound), reach: reach)
                parts.append(part)
            }
            start = end
        }
    }

    /// Checks all that can be checked without the file, so that what follows need not fear any number.
    func check() throws(StorageError) {
        if case .memory(let memory) = source, memory.address == nil {
            throw error(
                .invalidRange, "the slice \(memory.range) lies outside its buffer of \(memory.buffer.count) bytes")
        }
        var start = 0
        for chunk in chunks {
            guard chunk.count >= 0, chunk.decodedCount >= 0, chunk.offset <= UInt64(Int64.max) - UInt64(chunk.count)
            else { throw error(.invalidArgument, at: chunk, "a chunk's place or size makes no sense: \(chunk)") }
            guard !chunk.isStored || chunk.count == chunk.decodedCount else {
                throw error(.invalidArgument, at: chunk, "a stored chunk has as many bytes as it holds: \(chunk)")
            }
            if case .memory(let memory) = source, chunk.offset + UInt64(chunk.count) > UInt64(memory.count) {
                throw error(.malformedData, at: chunk, "the memory ends within the chunk")
            }
            let (end, overflow) = start.addingReportingOverflow(chunk.decodedCount)
            guard !overflow else { throw error(.invalidArgument, at: chunk, "the chunks hold too many bytes") }
            start = end
        }
        guard range.lowerBound >= 0, range.upperBound <= start else {
            throw error(.invalidRange, "the chunks hold \(start) bytes, of which \(range) were asked for")
        }
        guard range.count == place.count else {
            throw error(
                .invalidRange, "\(range.count) bytes are asked for, and the destination has \(place.count)")
        }
    }
}

import Glibc

/// Decodes pages of GDeflate, one after the other, in 56 KB of memory that is taken once.
///
/// 32 lanes have a bit buffer each, so one symbol's length does not decide where the next symbol begins, as it does in
/// DEFLATE: an out-of-order core decodes several at once if nothing in between is hard to predict. Hence two halves.
/// The first turns bits into literals and matches without a branch on what a symbol is, some rounds of the lanes at a
/// time (``decodeRounds()``); the second writes them out in order (``writeOut()``), and is the only one to touch the
/// destination.
///
/// What keeps the pointers within bounds, whatever the input: words are read only after a look at what is left of the
/// page; a table is indexed by as many bits as it has entries for, or by what its own entries say, which no input can
/// choose; a round begins only if there is room for one literal and one match a lane; and every match is checked
/// against what has been written and what is left to write.
struct PageDecoder: ~Copyable {
    static let laneCount = 32
    /// Encoded bytes of a page, at most: twice what it can hold, and more than any encoder needs. So no page takes long.
    static let mostEncodedBytes = 2 * GDeflate.pageSize

    /// A lane: up to 63 bits of its share of the stream, and the match it has begun.
    struct Lane {
        /// The next bit lowest; zeros above `count`.
        var bits: UInt64 = 0
        /// At least 32 before each step, which takes 31 at most.
        var count: UInt64 = 0
        /// Where in `matches`, in bytes, the match lies for which the lane reads the distance next; 0: the spare one.
        var match: UInt32 = 0
        /// The table, in bytes, that the lane's next code is of: 0, or ``DecodeEntry/length`` for a distance.
        var table: UInt32 = 0
    }

    /// A match, and with it the literals before it.
    struct Match {
        /// How many literals had been decoded before it.
        var literalEnd: UInt32 = 0
        var length: UInt32 = 0
        /// At least 1 once its lane has come round again.
        var distance: UInt32 = 0
        // 16 bytes, so that the places of matches are found with shifts.
        var unused: UInt32 = 0
    }

    /// Rounds between two writings: enough to make little of the turns between them, and few enough for the first cache.
    private static let roundsPerBatch = 16
    /// Of literals, and of matches.
    static let capacity = (roundsPerBatch + 2) * laneCount
    /// A vector is read from the last literal on.
    private static let literalSlack = 16

    private let memory: UnsafeMutableRawPointer
    let lanes: UnsafeMutablePointer<Lane>
    /// The first is spare: lanes without a match write their distance to it.
    let matches: UnsafeMutablePointer<Match>
    let literals: UnsafeMutablePointer<UInt8>
    var tables: DecodeTables
    /// The tables are those of the format's own codes.
    private var hasFixedTables = false

    // The page, and the next word of it.
    private var inputStart: UnsafeRawPointer
    var inputEnd: UnsafeRawPointer
    var input: UnsafeRawPointer
    // The destination, and the next byte of it.
    var outputStart: UnsafeMutableRawPointer
    var outputEnd: UnsafeMutableRawPointer
    var output: UnsafeMutableRawPointer

    // Decoded and not yet written: literals from 0 on, matches from 1 on.
    var literalCount = 0
    var matchCount = 1
    /// The matches below this have their distances.
    var completeCount = 1
    /// How many there were when the lanes' round began; all of them have their distances when it ends.
    var roundStart = 1

    init() throws(CodecError) {
        let laneBytes = MemoryLayout<Lane>.stride * Self.laneCount
        // One more of each: what is not kept is written behind the last and left there.
        let matchBytes = MemoryLayout<Match>.stride * (Self.capacity + 1)
        let tableBytes = MemoryLayout<UInt32>.stride * DecodeTables.wordCount
        let literalBytes = Self.capacity + 1 + Self.literalSlack
        guard let memory = malloc(laneBytes + matchBytes + tableBytes + literalBytes) else {
            throw CodecError(.outOfMemory, "No memory for the decoder's tables")
        }
        self.memory = memory
        // In the order of their alignment.
        lanes = memory.bindMemory(to: Lane.self, capacity: Self.laneCount)
        matches = (memory + laneBytes).bindMemory(to: Match.self, capacity: Self.capacity + 1)
        let words = (memory + laneBytes + matchBytes).bindMemory(to: UInt32.self, capacity: DecodeTables.wordCount)
        literals = (memory + laneBytes + matchBytes + tableBytes).bindMemory(to: UInt8.self, capacity: literalBytes)
        matches.initialize(repeating: Match(), count: Self.capacity + 1)
        literals.initialize(repeating: 0, count: literalBytes)
        tables = DecodeTables(words)
        // Nowhere, until there is a page.
        inputStart = UnsafeRawPointer(memory)
        inputEnd = inputStart
        input = inputStart
        outputStart = memory
        outputEnd = memory
        output = memory
    }

    deinit { free(memory) }

    /// Decodes a page of exactly `source`'s size into exactly `destination`'s, or throws. Any bytes may be given.
    ///
    /// - Complexity: O(*n* + *m*) of both sizes, with a new table, of some microseconds, for every few bytes at worst.
    mutating func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        try destination.withUnsafeMutableBytes { destination throws(CodecError) in
            try source.withUnsafeBytes { source throws(CodecError) in try decode(source, into: destination) }
        }
    }

    mutating func decode(
        _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        guard source.count <= Self.mostEncodedBytes else {
            throw CodecError(
                .malformed, offset: Self.mostEncodedBytes,
                "No page needs \(source.count) bytes; \(Self.mostEncodedBytes) are the limit")
        }
        // An empty buffer may have no address; nothing is read or written then, so any will do.
        inputStart = source.baseAddress ?? UnsafeRawPointer(memory)
        inputEnd = inputStart + source.count
        input = inputStart
        outputStart = destination.baseAddress ?? memory
        outputEnd = outputStart + destination.count
        output = outputStart

        // A page that failed leaves some behind.
        (literalCount, matchCount, completeCount) = (0, 1, 1)

        for lane in 0..<Self.laneCount {
            lanes[lane] = Lane()
            try refill(lane)
        }
        var isFinal = false
        while !isFinal {
            isFinal = take(1, from: 0) == 1
            let type = take(2, from: 0)
            try refill(0)
            switch type {
            case 0: try copyStored()
            case 1:
                if !hasFixedTables { tables.buildFixed() }
                hasFixedTables = true
                try decodeSymbols()
            case 2:
                hasFixedTables = false
                try readTables()
                try decodeSymbols()
            default: throw failure(.malformed, "A block is of the reserved type")
            }
        }
        guard output == outputEnd else {
            throw failure(.sizeMismatch, "The page holds \(output - outputStart) bytes, not \(destination.count)")
        }
        guard input == inputEnd else {
            throw failure(.malformed, "\(inputEnd - input) bytes follow the page's last block")
        }
    }

    @inline(never)
    func failure(_ code: CodecError.Code, _ message: String) -> CodecError {
        CodecError(code, offset: input - inputStart, message)
    }
}

// MARK: - Bits

extension PageDecoder {
    /// Ends the lane's step: gives it the next word of the page if it has fewer than 32 bits.
    @inline(__always)
    mutating func refill(_ lane: Int) throws(CodecError) {
        guard lanes[lane].count < 32 else { return }
        guard inputEnd - input >= 4 else { throw failure(.truncated, "The page ends within a block") }
        lanes[lane].bits |= UInt64(UInt32(littleEndian: input.loadUnaligned(as: UInt32.self))) &<< lanes[lane].count
        lanes[lane].count += 32
        input += 4
    }

    /// The lane's next bits, of which it has enough: at most 31 between two refills.
    @inline(__always)
    mutating func take(_ count: UInt64, from lane: Int) -> Int {
        let value = lanes[lane].bits & ((1 &<< count) &- 1)
        lanes[lane].bits &>>= count
        lanes[lane].count &-= count
        return Int(truncatingIfNeeded: value)
    }
}

// MARK: - Block heads

extension PageDecoder {
    private mutating func copyStored() throws(CodecError) {
        let count = take(16, from: 0)
        try refill(0)
        guard count <= outputEnd - output else {
            throw failure(.sizeMismatch, "A stored block exceeds the destination")
        }
        let end = output + count
        copyStoredRounds(before: end)
        for lane in 0..<(end - output) {
            output.storeBytes(of: UInt8(truncatingIfNeeded: take(8, from: lane % Self.laneCount)), as: UInt8.self)
            output += 1
            try refill(lane % Self.laneCount)
        }
    }

    /// As many bytes of a stored block as go round the lanes four times, again and again.
    ///
    /// In four rounds a lane gives 32 bits and takes a word, always after the same one of them. So the order of the
    /// words among the lanes is known beforehand, and the bits that a lane has are as many each time.
    private mutating func copyStoredRounds(before end: UnsafeMutableRawPointer) {
        let size = 4 * Self.laneCount
        guard end - output >= size else { return }
        var order = InlineArray<32, Int>(repeating: 0)
        var next = 0
        for round in 0..<4 as Range<UInt64> {
            for lane in 0..<Self.laneCount where (lanes[lane].count - 32) / 8 == round {
                order[next] = lane
                next += 1
            }
        }
        while end - output >= size, inputEnd - input >= size {
            for index in 0..<Self.laneCount {
                let lane = order[index]
                let bits = lanes[lane].bits
                for round in 0..<4 {
                    let byte = UInt8(truncatingIfNeeded: bits &>> UInt64(8 &* round))
                    (output + (lane &+ round &* Self.laneCount)).storeBytes(of: byte, as: UInt8.self)
                }
                let word = (input + 4 &* index).loadUnaligned(as: UInt32.self)
                lanes[lane].bits = bits &>> 32 | UInt64(UInt32(littleEndian: word)) &<< (lanes[lane].count &- 32)
            }
            input += size
            output += size
        }
    }

    private mutating func readTables() throws(CodecError) {
        let symbols = take(5, from: 0) + 257
        let distances = take(5, from: 0) + 1
        let codeLengths = take(4, from: 0) + 4
        try refill(0)
        let lengths = tables.lengths
        for symbol in 0..<Alphabet.codeLengthOrder.count { lengths[symbol] = 0 }
        for index in 0..<codeLengths {
            lengths[Int(Alphabet.codeLengthOrder[index])] = UInt8(take(3, from: index))
            try refill(index)
        }
        guard tables.buildCodeLengths() else {
            throw failure(.malformed, "The code lengths' code is over- or undersubscribed")
        }
        let total = symbols + distances
        var filled = 0
        var lane = 0
        while filled < total {
            let entry = tables.codeLength(lanes[lane].bits)
            guard !entry.isExceptional else { throw failure(.malformed, "An unused code for a code length") }
            _ = take(UInt64(entry.total), from: lane)
            let length: UInt8
            let count: Int
            switch entry.base {
            case 0..<16: (length, count) = (UInt8(entry.base), 1)
            case 16:
                guard filled > 0 else { throw failure(.malformed, "The first code length repeats one before it") }
                (length, count) = (lengths[filled - 1], 3 + take(2, from: lane))
            case 17: (length, count) = (0, 3 + take(3, from: lane))
            default: (length, count) = (0, 11 + take(7, from: lane))
            }
            guard count <= total - filled else { throw failure(.malformed, "A run of code lengths is too long") }
            // At most 288 + 32, for which there is room.
            for index in filled..<(filled + count) { lengths[index] = length }
            filled += count
            try refill(lane)
            lane = (lane + 1) % Self.laneCount
        }
        guard lengths[Alphabet.endOfBlock] != 0 else { throw failure(.malformed, "A block has no code for its end") }
        guard tables.build(symbols: symbols, distances: distances) else {
            throw failure(.malformed, "A block's code is over- or undersubscribed")
        }
    }
}

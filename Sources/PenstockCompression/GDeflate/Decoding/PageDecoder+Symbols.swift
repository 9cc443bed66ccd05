// The first half: from bits to literals and matches.
extension PageDecoder {
    /// The symbols of a block, up to its end.
    mutating func decodeSymbols() throws(CodecError) {
        while true {
            if !hasRoomForRound { try writeOut() }
            var lane = decodeRounds()
            // Stopped for want of room, which is made above; for want of input, or at something special, it goes on
            // lane by lane.
            if lane == 0, !hasRoomForRound { continue }
            while lane < Self.laneCount {
                if try decodeSymbol(lane) {
                    // One sweep for the distances still to come, which ends with the lane before this one.
                    for next in 1..<Self.laneCount where lanes[(lane + next) % Self.laneCount].table != 0 {
                        try decodeDistance((lane + next) % Self.laneCount)
                    }
                    completeCount = matchCount
                    return try writeOut()
                }
                lane += 1
            }
            completeCount = roundStart
        }
    }

    /// One literal and one match from each lane at most.
    private var hasRoomForRound: Bool { max(literalCount, matchCount) <= Self.capacity - Self.laneCount }

    /// One step of a lane, with a look at everything. True at the end of the block.
    private mutating func decodeSymbol(_ lane: Int) throws(CodecError) -> Bool {
        if lanes[lane].table != 0 {
            try decodeDistance(lane)
            return false
        }
        let entry = tables.entry(lanes[lane].bits, in: 0)
        if entry.isExceptional, !entry.isEnd { throw failure(.malformed, "An unused code for a literal or length") }
        let value = entry.split(lanes[lane].bits).value
        _ = take(UInt64(entry.total), from: lane)
        try refill(lane)
        if entry.isEnd { return true }
        if entry.isLength {
            matches[matchCount] = Match(literalEnd: UInt32(literalCount), length: value)
            lanes[lane].match = UInt32(matchCount * MemoryLayout<Match>.stride)
            lanes[lane].table = DecodeEntry.length
            matchCount += 1
        } else {
            literals[literalCount] = UInt8(truncatingIfNeeded: value)
            literalCount += 1
        }
        return false
    }

    private mutating func decodeDistance(_ lane: Int) throws(CodecError) {
        let entry = tables.entry(lanes[lane].bits, in: DecodeEntry.length)
        if entry.isExceptional { throw failure(.malformed, "An unused code for a distance") }
        matches[Int(lanes[lane].match) / MemoryLayout<Match>.stride].distance =
            entry.split(lanes[lane].bits).value
        lanes[lane].table = 0
        lanes[lane].match = 0
        _ = take(UInt64(entry.total), from: lane)
        try refill(lane)
    }

    /// Whole rounds, for as long as there is room for one more and input for it.
    ///
    /// What a symbol is, is as good as random, so nothing here branches on it: each lane writes a literal, a match and
    /// a distance, and moves on past what it was.
    /// - Returns: The lane at which it stopped, 0 between two rounds.
    private mutating func decodeRounds() -> Int {
        // In registers, as the compiler cannot know that no write below changes them.
        let tables = tables
        let lanes = lanes
        let matches = UnsafeMutableRawPointer(matches)
        let literals = literals
        let lastLiteral = Self.capacity - Self.laneCount
        let size = MemoryLayout<Match>.stride
        let lastMatch = (Self.capacity - Self.laneCount) * size
        var input = input
        var literal = literalCount
        // In bytes, like the lanes'.
        var match = matchCount * size
        var start = match
        defer {
            self.input = input
            literalCount = literal
            matchCount = match / size
            roundStart = start / size
        }
        // A round takes at most a word for each lane, and looks at no more.
        while inputEnd - input >= 4 * Self.laneCount, literal <= lastLiteral, match <= lastMatch {
            for lane in 0..<Self.laneCount {
                let bits = lanes[lane].bits
                var entry = tables.first(bits, in: lanes[lane].table)
                if entry.isExceptional {
                    if entry.isSecondTable { entry = tables.second(entry, bits) }
                    // Nothing has been done for this lane yet; ``decodeSymbol(_:)`` does it again from here.
                    if entry.isExceptional { return lane }
                }
                let (value, rest) = entry.split(bits)
                let pending = (matches + Int(lanes[lane].match)).assumingMemoryBound(to: Match.self)
                pending.pointee.distance = value
                literals[literal] = UInt8(truncatingIfNeeded: value)
                let begun = (matches + match).assumingMemoryBound(to: Match.self)
                begun.pointee.literalEnd = UInt32(truncatingIfNeeded: literal)
                begun.pointee.length = value

                literal &+= Int(entry.word &>> 7 & 1)
                let table = entry.word & DecodeEntry.length
                lanes[lane].table = table
                lanes[lane].match = table == 0 ? 0 : UInt32(truncatingIfNeeded: match)
                // By 16, the size of a match, or by 0.
                match &+= Int(table &>> 11)

                let count = (lanes[lane].count &- UInt64(entry.word)) & 63
                // All ones below 32, else zero.
                let isShort = (count &>> 5) &- 1
                let refill = UInt64(UInt32(littleEndian: input.loadUnaligned(as: UInt32.self))) & isShort
                lanes[lane].bits = rest | refill &<< count
                lanes[lane].count = count | 32
                input += Int(isShort & 4)
            }
            completeCount = start / size
            start = match
        }
        return 0
    }
}

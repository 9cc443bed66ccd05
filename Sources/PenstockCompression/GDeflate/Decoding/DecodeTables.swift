/// What a lane's next bits mean.
///
/// | bits | |
/// |---|---|
/// | 0–5 | how many bits are used up, the code's and the extra ones |
/// | 7 | a literal |
/// | 8–11 | the code's length |
/// | 12 | none of these: a second table, the block's end, or a code that is not used |
/// | 13 | a second table: bits 0–5 are how many bits index it, bits 16–31 where it begins |
/// | 14 | the block's end |
/// | 15 | a match's length: as a number, how many bytes the distances' table is away |
/// | 16–31 | the literal, or what the extra bits are added to |
struct DecodeEntry {
    var word: UInt32

    static let length: UInt32 = 1 << 15
    static let literal: UInt32 = 1 << 7
    static let exceptional: UInt32 = 1 << 12
    static let secondTable: UInt32 = 1 << 13
    static let end: UInt32 = 1 << 14
    static let unused = DecodeEntry(word: exceptional)

    @inline(__always) var total: UInt32 { word & 63 }
    @inline(__always) var base: UInt32 { word &>> 16 }
    @inline(__always) var isLength: Bool { word & Self.length != 0 }
    @inline(__always) var isExceptional: Bool { word & Self.exceptional != 0 }
    @inline(__always) var isSecondTable: Bool { word & Self.secondTable != 0 }
    @inline(__always) var isEnd: Bool { word & Self.end != 0 }

    /// The literal, length or distance that these bits begin with, and the bits behind it.
    @inline(__always)
    func split(_ bits: UInt64) -> (value: UInt32, rest: UInt64) {
        // Shifts look at six bits only, so nothing has to be cut off the word first.
        let rest = bits &>> UInt64(word)
        let used = bits &- rest &<< UInt64(word)
        return (base &+ UInt32(truncatingIfNeeded: used &>> UInt64(word &>> 8)), rest)
    }
}

/// The tables of a block's codes, and what is needed to build them.
///
/// A table has 2¹¹ entries for the first bits of a code; codes that are longer, which are few and rare, continue in
/// second tables behind it. Both tables are indexed alike, so that a lane can use either without a branch.
struct DecodeTables {
    static let indexBits = 11
    static let indexMask: UInt64 = 1 << 11 - 1
    private static let mainCount = 1 << indexBits
    private static let longestSecond = Alphabet.longestCode - indexBits
    /// A second table holds two codes at least, being full.
    private static func count(of symbols: Int) -> Int { mainCount + (symbols / 2) << longestSecond }
    /// Where the distances' table begins: behind the symbols', and so that ``DecodeEntry/length`` is it in bytes.
    static let distances = Int(DecodeEntry.length) / MemoryLayout<UInt32>.stride
    private static let entryCount = distances + count(of: Alphabet.distanceCount)
    private static let templateCount = Alphabet.symbolCount + Alphabet.distanceCount + Alphabet.codeLengthCount
    private static let lengthCount = Alphabet.symbolCount + Alphabet.distanceCount
    /// The memory needed, in words.
    static let wordCount = entryCount + templateCount + (Alphabet.longestCode + 1) * 2 + lengthCount

    /// The symbols' table, then the distances'.
    let entries: UnsafeMutablePointer<UInt32>
    /// Each symbol's entry without its code's length, of all three alphabets.
    private let templates: UnsafeMutablePointer<UInt32>
    /// How many codes there are of each length, and where those begin among the sorted.
    private let counts: UnsafeMutablePointer<UInt32>
    private let starts: UnsafeMutablePointer<UInt32>
    /// The symbols, by the length of their code.
    private let sorted: UnsafeMutablePointer<UInt16>
    /// The code lengths to build from, 0...15, with room for both alphabets.
    let lengths: UnsafeMutablePointer<UInt8>

    /// - Parameter words: Memory for ``wordCount`` words, which has to outlive the tables.
    init(_ words: UnsafeMutablePointer<UInt32>) {
        // The entries are written before they are read, block for block.
        entries = words
        templates = entries + Self.entryCount
        counts = templates + Self.templateCount
        starts = counts + (Alphabet.longestCode + 1)
        // The rest has room for half a word and a byte for each length.
        let rest = UnsafeMutableRawPointer(starts + (Alphabet.longestCode + 1))
        sorted = rest.bindMemory(to: UInt16.self, capacity: Self.lengthCount)
        lengths = (rest + 2 * Self.lengthCount).bindMemory(to: UInt8.self, capacity: Self.lengthCount)

        for literal in 0..<Alphabet.endOfBlock { templates[literal] = UInt32(literal) << 16 | DecodeEntry.literal }
        templates[Alphabet.endOfBlock] = DecodeEntry.exceptional | DecodeEntry.end
        for symbol in Alphabet.firstLength..<Alphabet.symbolCount { templates[symbol] = DecodeEntry.exceptional }
        for index in 0...Alphabet.longLengthIndex {
            templates[Alphabet.firstLength + index] =
                UInt32(Alphabet.shortestLength(index) << 16 | Alphabet.lengthExtraBits(index)) | DecodeEntry.length
        }
        for symbol in 0..<Alphabet.distanceCount {
            templates[Alphabet.symbolCount + symbol] =
                UInt32(Alphabet.leastDistance(symbol) << 16 | Alphabet.distanceExtraBits(symbol))
        }
        for length in 0..<Alphabet.codeLengthCount {
            templates[Alphabet.symbolCount + Alphabet.distanceCount + length] = UInt32(length) << 16
        }
    }

    /// What those bits mean, of the table at so many bytes: 0, or ``DecodeEntry/length`` for the distances'.
    @inline(__always)
    func first(_ bits: UInt64, in table: UInt32) -> DecodeEntry {
        let table = UnsafeRawPointer(entries) + Int(table)
        return DecodeEntry(word: table.assumingMemoryBound(to: UInt32.self)[Int(bits & Self.indexMask)])
    }

    func entry(_ bits: UInt64, in table: UInt32) -> DecodeEntry {
        let entry = first(bits, in: table)
        return entry.isSecondTable ? second(entry, bits) : entry
    }

    @inline(__always)
    func second(_ entry: DecodeEntry, _ bits: UInt64) -> DecodeEntry {
        let index = (bits &>> UInt64(Self.indexBits)) & ((1 &<< UInt64(entry.word)) &- 1)
        return DecodeEntry(word: entries[Int(entry.base) &+ Int(index)])
    }

    /// What those bits mean while a block's tables are read.
    func codeLength(_ bits: UInt64) -> DecodeEntry {
        DecodeEntry(word: entries[Int(bits & (1 << UInt64(Alphabet.longestCodeLengthCode) - 1))])
    }

    /// The codes that the format itself sets.
    mutating func buildFixed() {
        for symbol in 0..<Alphabet.symbolCount { lengths[symbol] = Alphabet.fixedCodeLength(symbol) }
        for distance in 0..<Alphabet.distanceCount {
            lengths[Alphabet.symbolCount + distance] = Alphabet.fixedDistanceCodeLength
        }
        _ = build(symbols: Alphabet.symbolCount, distances: Alphabet.distanceCount)
    }

    /// From the first 19 lengths. False if they make no code.
    mutating func buildCodeLengths() -> Bool {
        build(
            at: 0, lengths, count: Alphabet.codeLengthCount, templates + Alphabet.symbolCount + Alphabet.distanceCount,
            indexBits: Alphabet.longestCodeLengthCode)
    }

    /// From the lengths: those of the symbols, then those of the distances. False if they make no code.
    mutating func build(symbols: Int, distances: Int) -> Bool {
        build(at: 0, lengths, count: symbols, templates, indexBits: Self.indexBits)
            && build(
                at: Self.distances, lengths + symbols, count: distances, templates + Alphabet.symbolCount,
                indexBits: Self.indexBits)
    }

    /// Builds one table. The lengths must use up all codes, save that there may be no code, or one, of a single bit.
    private mutating func build(
        at start: Int, _ lengths: UnsafePointer<UInt8>, count: Int, _ templates: UnsafePointer<UInt32>, indexBits: Int
    ) -> Bool {
        guard let longest = sort(lengths, count: count) else { return false }
        let table = entries + start
        // A code is looked up by bits that come first bit lowest, so codes are counted up with their bits reversed.
        var code = 0
        var next = 0
        // Entries by the first bit, then by the first two, and so on: each step doubles what there is, which gives the
        // shorter codes their entries for all the bits that may follow.
        table[0] = DecodeEntry.unused.word
        for length in 1...indexBits {
            let half = 1 << (length - 1)
            (table + half).update(from: table, count: half)
            for _ in 0..<counts[length] {
                table[code] = templates[Int(sorted[next])] | UInt32(length << 8) &+ UInt32(length)
                next += 1
                code = Self.successor(of: code, half)
            }
        }
        guard longest > indexBits else { return true }
        // The code is full, or it would be a single bit long; so each second table has all its entries set, and two
        // codes or more.
        let secondBits = longest - indexBits
        var second = 1 << indexBits - 1 << secondBits
        var prefix = -1
        for length in (indexBits + 1)...longest {
            for _ in 0..<counts[length] {
                if code & (1 << indexBits - 1) != prefix {
                    prefix = code & (1 << indexBits - 1)
                    second += 1 << secondBits
                    table[prefix] =
                        UInt32(start + second) << 16 | DecodeEntry.exceptional | DecodeEntry.secondTable
                        | UInt32(secondBits)
                }
                let entry = templates[Int(sorted[next])] + UInt32(length << 8 + length)
                next += 1
                for index in stride(from: code >> indexBits, to: 1 << secondBits, by: 1 << (length - indexBits)) {
                    table[second + index] = entry
                }
                code = Self.successor(of: code, 1 << (length - 1))
            }
        }
        return true
    }

    /// The next code with its bits reversed: one more at the far end, carried towards the first bit.
    @inline(__always)
    private static func successor(of code: Int, _ last: Int) -> Int {
        var bit = last
        while code & bit != 0 { bit &>>= 1 }
        // The bits carried through are cleared; behind the last code comes 0.
        return bit == 0 ? 0 : code & (bit &- 1) | bit
    }

    /// Sorts the symbols by length. The longest length, or nil if the lengths make no code.
    private mutating func sort(_ lengths: UnsafePointer<UInt8>, count: Int) -> Int? {
        counts.update(repeating: 0, count: Alphabet.longestCode + 1)
        for symbol in 0..<count { counts[Int(lengths[symbol])] &+= 1 }
        var used: UInt32 = 0
        var coded: UInt32 = 0
        var longest = 0
        for length in 1...Alphabet.longestCode {
            starts[length] = coded
            coded += counts[length]
            used += counts[length] << UInt32(Alphabet.longestCode - length)
            if counts[length] != 0 { longest = length }
        }
        let isFull = used == 1 << UInt32(Alphabet.longestCode)
        guard isFull || coded == 0 || (coded == 1 && longest == 1) else { return nil }
        for symbol in 0..<count where lengths[symbol] != 0 {
            let length = Int(lengths[symbol])
            sorted[Int(starts[length])] = UInt16(symbol)
            starts[length] += 1
        }
        return longest
    }
}

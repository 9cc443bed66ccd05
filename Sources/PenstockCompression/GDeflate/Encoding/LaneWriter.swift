/// Writes bits to the 32 lanes of a page, and each lane's words to where a decoder's lane will look for them.
///
/// A decoder's lane starts with one word and takes the page's next one as soon as it holds fewer than 32 bits. So a
/// word's place is settled long before its bits are known: each lane keeps two places, of the word that it fills and of
/// the one after, and claims another whenever the decoder would.
struct LaneWriter {
    static let laneCount = 32

    struct Lane {
        /// Bits that wait for a full word, the first one lowest.
        var bits: UInt64
        /// How many: 1 to 32, and 32 before the first put, so that the decoder's first refill needs no case of its own.
        var count: UInt32
        /// Places, in words, of the word being filled and of the one that follows.
        var place: UInt16
        var nextPlace: UInt16
    }

    private let lanes: UnsafeMutablePointer<Lane>
    private let destination: UnsafeMutableRawPointer
    private(set) var wordCount = laneCount

    /// - Parameters:
    ///   - lanes: Room for ``laneCount`` lanes.
    ///   - destination: Room for whatever will be put: nothing is checked here.
    init(lanes: UnsafeMutablePointer<Lane>, destination: UnsafeMutableRawPointer) {
        self.lanes = lanes
        self.destination = destination
        for lane in 0..<UInt16(Self.laneCount) {
            // The first put stores an empty word at this place; the lane's first real word follows it there.
            lanes[Int(lane)] = Lane(bits: 0, count: 32, place: lane, nextPlace: lane)
        }
    }

    /// Puts the lowest `count` bits of `bits` (the others are zero), of which there are 0 to 31.
    ///
    /// Whether a word is full is anybody's guess, so nothing branches on it: the word is stored again and again until it is.
    @inline(__always)
    mutating func put(_ bits: UInt64, count: UInt32, lane index: Int) {
        let lane = lanes[index]
        let waiting = lane.bits | bits &<< UInt64(lane.count)
        let total = lane.count &+ count
        store(UInt32(truncatingIfNeeded: waiting), at: lane.place)
        let isFull = total > 32
        lanes[index] = Lane(
            bits: isFull ? waiting &>> 32 : waiting, count: isFull ? total &- 32 : total,
            place: isFull ? lane.nextPlace : lane.place,
            nextPlace: isFull ? UInt16(truncatingIfNeeded: wordCount) : lane.nextPlace)
        wordCount &+= isFull ? 1 : 0
    }

    @inline(__always)
    private func store(_ word: UInt32, at place: UInt16) {
        destination.storeBytes(of: word.littleEndian, toByteOffset: Int(place) &* 4, as: UInt32.self)
    }

    /// Writes what waits; the words that a decoder takes and never looks at are zero.
    /// - Returns: The page's size in bytes.
    func finish() -> Int {
        for index in 0..<Self.laneCount {
            store(0, at: lanes[index].nextPlace)
            store(UInt32(truncatingIfNeeded: lanes[index].bits), at: lanes[index].place)
        }
        return wordCount * 4
    }
}

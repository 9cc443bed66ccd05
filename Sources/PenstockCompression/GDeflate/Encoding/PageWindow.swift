/// The page that is being encoded, copied to where there is room behind it: a comparison of eight bytes at a time need
/// not stop before its end. What it sees there is zero, so that equal pages are encoded alike.
struct PageWindow {
    static let padding = 16

    let bytes: UnsafePointer<UInt8>
    let count: Int

    @inline(__always)
    func word(_ position: Int) -> UInt32 {
        UInt32(littleEndian: UnsafeRawPointer(bytes + position).loadUnaligned(as: UInt32.self))
    }

    @inline(__always)
    private func doubleWord(_ position: Int) -> UInt64 {
        UInt64(littleEndian: UnsafeRawPointer(bytes + position).loadUnaligned(as: UInt64.self))
    }

    /// How many bytes are equal at the two positions.
    /// - Parameters:
    ///   - known: So many are known to be.
    ///   - limit: The most that matter, and no more than there are.
    @inline(__always)
    func equalBytes(_ first: Int, _ second: Int, known: Int, limit: Int) -> Int {
        var length = known
        while length < limit {
            let difference = doubleWord(first &+ length) ^ doubleWord(second &+ length)
            if difference != 0 { return min(limit, length &+ difference.trailingZeroBitCount &>> 3) }
            length &+= 8
        }
        return limit
    }

    /// A hash of the four bytes at a position.
    @inline(__always)
    static func hash4(_ word: UInt32, bits: UInt32) -> Int { Int((word &* 0x9E37_79B1) &>> (32 &- bits)) }
}

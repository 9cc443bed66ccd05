/// The last position of every three bytes. A match so short pays only nearby, so one position is enough.
struct ShortMatches {
    private static let hashBits: UInt32 = 13

    private let heads: UnsafeMutablePointer<UInt16>

    static func allocate() -> ShortMatches { ShortMatches(heads: .allocate(capacity: 1 << Int(hashBits))) }
    func deallocate() { heads.deallocate() }
    func clear() { heads.update(repeating: 0, count: 1 << Int(Self.hashBits)) }

    /// Is shown a position with its first four bytes.
    /// - Returns: The distance of a match of three bytes; 0: none.
    @inline(__always)
    func insert(_ window: PageWindow, _ position: Int, _ word: UInt32) -> Int {
        let head = heads + PageWindow.hash4(word &<< 8, bits: Self.hashBits)
        let candidate = Int(head.pointee)
        head.pointee = UInt16(truncatingIfNeeded: position)
        return (window.word(candidate) ^ word) &<< 8 == 0 ? position &- candidate : 0
    }
}

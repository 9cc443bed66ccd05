/// Where a match's bytes were before.
struct Match {
    /// Of a match, only so many of the last positions need be remembered: the bytes are where they were before, too.
    static let remembered = 256

    /// 0: none.
    var length = 0
    var distance = 0

    /// What a match is worth, in quarters of a byte: its length, less what a far distance takes.
    @inline(__always)
    var score: Int { 4 &* length &- (63 &- distance.leadingZeroBitCount) }
}

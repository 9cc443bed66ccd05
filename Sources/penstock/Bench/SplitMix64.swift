/// A small, fast generator whose n-th number can be had without the ones before it: random offsets come from it in
/// order, and file contents by index.
struct SplitMix64: RandomNumberGenerator, Sendable {
    private static let increment: UInt64 = 0x9E37_79B9_7F4A_7C15
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= Self.increment
        return Self.mix(state)
    }

    /// What `next()` of a fresh generator with this seed returns when it is called for the `index`-th time (from 0).
    @inline(__always)
    static func value(seed: UInt64, at index: UInt64) -> UInt64 {
        mix(seed &+ (index &+ 1) &* increment)
    }

    @inline(__always)
    private static func mix(_ state: UInt64) -> UInt64 {
        var bits = state
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }
}

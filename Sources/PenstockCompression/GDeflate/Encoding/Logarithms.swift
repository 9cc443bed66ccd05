/// Binary logarithms without a mathematics library, in 1/4096.
struct Logarithms {
    static let fraction = 12
    private static let size = 2048

    /// Made once for all encoders, and never changed or freed.
    private nonisolated(unsafe) static let shared: UnsafePointer<UInt32> = {
        let table = UnsafeMutablePointer<UInt32>.allocate(capacity: size)
        table[0] = 0
        for value in 1..<size { table[value] = logarithm(value) }
        return UnsafePointer(table)
    }()

    private let table = shared

    /// The logarithm of a number; 0 of 0.
    @inline(__always)
    subscript(value: Int) -> Int {
        if value < Self.size { return Int(table[value]) }
        // Of a large number the highest bits will do.
        let shift = 53 &- value.leadingZeroBitCount
        return Int(table[value &>> shift]) &+ shift &<< Self.fraction
    }

    /// One bit of the fraction after the other: squaring doubles a logarithm.
    private static func logarithm(_ value: Int) -> UInt32 {
        let whole = Int.bitWidth - 1 - value.leadingZeroBitCount
        var result = UInt32(whole)
        var rest = Double(value) / Double(1 << whole)
        for _ in 0..<fraction {
            rest *= rest
            result <<= 1
            guard rest >= 2 else { continue }
            rest /= 2
            result |= 1
        }
        return result
    }
}

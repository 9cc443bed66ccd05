/// A fast 64-bit checksum of a stream of bytes, however it is cut into pieces: eight lanes of xor, multiply and rotate.
///
/// Every step can be undone, so a single wrong word always changes the result, and the order of the bytes and their number
/// count. It is not cryptographic: it finds accidents, not forgers.
struct Checksum: Sendable {
    private static let stripe = 64
    private static let prime: UInt64 = 0x9E37_79B1_85EB_CA87

    private var lanes = SIMD8<UInt64>(1, 2, 3, 5, 8, 13, 21, 34) &* Self.prime
    /// What has not filled a stripe yet; the rest of it is zero.
    private var tail = SIMD64<UInt8>()
    private(set) var byteCount = 0

    /// The checksum of a text.
    static func of(_ text: String) -> UInt64 {
        var checksum = Checksum()
        var text = text
        text.withUTF8 { checksum.update(UnsafeRawBufferPointer($0)) }
        return checksum.value
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var position = 0
        let filled = byteCount % Self.stripe
        byteCount += bytes.count
        if filled > 0 {
            position = min(Self.stripe - filled, bytes.count)
            for index in 0..<position { tail[filled + index] = bytes[index] }
            guard filled + position == Self.stripe else { return }
            lanes = Self.mix(lanes, unsafeBitCast(tail, to: SIMD8<UInt64>.self))
        }
        while bytes.count - position >= Self.stripe {
            lanes = Self.mix(lanes, bytes.loadUnaligned(fromByteOffset: position, as: SIMD8<UInt64>.self))
            position += Self.stripe
        }
        tail = SIMD64()
        for index in position..<bytes.count { tail[index - position] = bytes[index] }
    }

    /// Counts bytes without looking at them.
    mutating func skip(_ count: Int) { byteCount += count }

    /// The checksum of all bytes so far.
    var value: UInt64 {
        let last = Self.mix(lanes, unsafeBitCast(tail, to: SIMD8<UInt64>.self))
        var value = UInt64(byteCount)
        for lane in last.indices {
            value = (value ^ last[lane]) &* Self.prime
            value ^= value >> 29
        }
        return value
    }

    @inline(__always)
    private static func mix(_ lanes: SIMD8<UInt64>, _ words: SIMD8<UInt64>) -> SIMD8<UInt64> {
        let product = (lanes ^ words) &* prime
        // The multiplication carries differences upwards; the rotation brings them down again.
        return product &<< 29 | product &>> 35
    }
}

extension Checksum: Equatable, CustomStringConvertible {
    static func == (lhs: Self, rhs: Self) -> Bool { lhs.byteCount == rhs.byteCount && lhs.value == rhs.value }

    var description: String { "\(byteCount) bytes with checksum \(String(value, radix: 16))" }
}

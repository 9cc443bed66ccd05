import Glibc
import PenstockCompression

extension FuzzTarget {
    /// Any bytes, at any level, encode to no more than the bound, and come back.
    static let gdeflateRoundTrip = FuzzTarget(name: "gdeflate-round-trip") { input, memory in
        guard let input = EncoderInput(input) else { return }
        let codec = GDeflate(level: input.level, framing: input.framing)
        let source = memory.source.take(input.byteCount, against: input.side, filledWith: 0)
        input.fill(source)
        let bound = codec.bound(of: source.count)
        let encoded = memory.destination.take(bound, against: input.side, filledWith: 0xA5)
        var room = encoded.mutableBytes
        let size = try codec.encode(UnsafeRawBufferPointer(source).bytes, into: &room)
        try memory.destination.requireUntouched()
        try require(size <= bound, "\(size) bytes are within the bound, \(bound)")

        let decoded = memory.other.take(source.count, against: input.side, filledWith: 0x5A)
        var destination = decoded.mutableBytes
        try codec.decode(UnsafeRawBufferPointer(rebasing: encoded[..<size]).bytes, into: &destination)
        try memory.other.requireUntouched()
        let isSame = source.isEmpty || memcmp(source.baseAddress!, decoded.baseAddress!, source.count) == 0
        try require(isSame, "\(source.count) bytes come back at level \(input.level)")
    }
}

/// An input of an encoder: flags and the level, how often the rest comes, and the rest.
private struct EncoderInput {
    let level: Int
    let framing: GDeflate.Framing
    let side: FuzzMemory.Side
    let byteCount: Int
    private let bytes: UnsafeRawBufferPointer
    /// Added to each byte each time that it comes again.
    private let step: UInt8

    /// Nil if there is not even the head.
    init?(_ input: UnsafeRawBufferPointer) {
        guard input.count >= 2 else { return nil }
        let (flags, repeats) = (input[0], input[1])
        // Also one below the lowest and two above the highest.
        level = Int(flags & 15) - 1
        framing = flags & 16 == 0 ? .page : .tileStream
        side = flags & 32 == 0 ? .back : .front
        step = flags >> 6
        bytes = UnsafeRawBufferPointer(rebasing: input[2...])
        // A page, or a little more of a stream; some blocks where the encoder takes its time.
        let limit = level >= 8 ? 20_000 : GDeflate.pageSize + (framing == .page ? 0 : 5000)
        // Whole pages are worth it now and then: each takes a hundred times as long as what most bugs need.
        byteCount = min(bytes.count * (repeats < 240 ? 1 + Int(repeats) / 16 : Int(repeats)), limit)
    }

    /// Inputs stay short so, and what is encoded need not.
    func fill(_ source: UnsafeMutableRawBufferPointer) {
        var (next, added) = (0, 0 as UInt8)
        for index in source.indices {
            source[index] = bytes[next] &+ added
            next += 1
            if next == bytes.count { (next, added) = (0, added &+ step) }
        }
    }
}

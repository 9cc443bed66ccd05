import Glibc
import PenstockCompression

extension FuzzTarget {
    /// Sizes up to a page, and one more, which no page has.
    static let gdeflatePage = decoder("gdeflate-page") { GDeflate(framing: .page) }
    static let gdeflateStream = decoder("gdeflate-stream") { GDeflate(framing: .tileStream) }
    static let zstd = decoder("zstd") { Zstd() }
    static let lz4 = decoder("lz4") { LZ4() }
    static let deflates = [
        decoder("deflate") { Deflate(framing: .raw) }, decoder("zlib") { Deflate(framing: .zlib) },
        decoder("gzip") { Deflate(framing: .gzip) },
    ]

    /// Whatever the bytes, they decode to exactly the declared size, or fail with a typed error that lies within them;
    /// and they do the same again with tables that others have used before.
    private static func decoder(_ name: String, _ make: @escaping @Sendable () -> any Codec) -> FuzzTarget {
        let used = make()
        return FuzzTarget(name: name) { input, memory in
            guard let input = DecoderInput(input) else { return }
            let source = memory.source.take(input.encoded, against: input.side)
            let first = memory.destination.take(input.byteCount, against: input.side, filledWith: 0xA5)
            let firstError = failure(make(), source, into: first)
            try memory.destination.requireUntouched()
            if let offset = firstError?.offset {
                try require((0...source.count).contains(offset), "an error lies within the bytes: \(firstError!)")
            }
            // Bytes that were never written differ.
            let second = memory.other.take(input.byteCount, against: input.side, filledWith: 0x5A)
            let secondError = failure(used, source, into: second)
            try memory.other.requireUntouched()
            try require(firstError == secondError, "the same twice: \(firstError as Any), \(secondError as Any)")
            guard firstError == nil, input.byteCount > 0 else { return }
            let isSame = memcmp(first.baseAddress!, second.baseAddress!, input.byteCount) == 0
            try require(isSame, "the same \(input.byteCount) bytes twice")
        }
    }

    private static func failure(
        _ codec: any Codec, _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) -> CodecError? {
        var destination = destination.mutableBytes
        do throws(CodecError) {
            try codec.decode(source.bytes, into: &destination)
            return nil
        } catch { return error }
    }
}

/// An input of a decoder: flags, two bytes of size, and what is to be decoded.
private struct DecoderInput {
    let encoded: UnsafeRawBufferPointer
    /// The declared size: less than a MiB.
    let byteCount: Int
    let side: FuzzMemory.Side

    /// Nil if there is not even the head, or more than there is room for.
    init?(_ input: UnsafeRawBufferPointer) {
        guard input.count >= 3, input.count < FuzzMemory.capacity / 2 else { return nil }
        let flags = input[0]
        let size = Int(input[1]) | Int(input[2]) << 8
        byteCount = size * (flags & 2 == 0 ? 1 : 15) + Int(flags >> 7)
        side = flags & 4 == 0 ? .back : .front
        encoded = UnsafeRawBufferPointer(rebasing: input[3...])
    }
}

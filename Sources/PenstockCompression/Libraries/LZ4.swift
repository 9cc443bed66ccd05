import CLZ4

/// LZ4's block format, by liblz4: the fastest to decode. A block carries no size and no checksum.
public struct LZ4: Codec {
    /// 1 and 2: the fast compressor; from 3 to 12: the high-compression one. Decoding takes no notice of it.
    public let level: Int

    /// - Parameter level: Beyond 1 to 12, the nearest of these.
    public init(level: Int = 1) { self.level = min(max(level, 1), Int(LZ4HC_CLEVEL_MAX)) }

    /// `lz4b`: a block, not a frame.
    public var identifier: CodecIdentifier { "lz4b" }

    /// 64 KiB, which is also as far as a match reaches back.
    public var chunkSize: Int { 64 << 10 }

    private static let largestInput = 0x7E00_0000

    /// The most bytes that encoding so many bytes can give.
    public func bound(of byteCount: Int) -> Int {
        byteCount <= Self.largestInput ? Int(LZ4_compressBound(Int32(byteCount))) : .max
    }

    /// Compresses all of `source` into the front of `destination`; returns the size.
    public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
        guard source.byteCount <= Self.largestInput else {
            throw CodecError(
                .notSupported, "At most \(Self.largestInput) bytes can be encoded at once, not \(source.byteCount)")
        }
        return try withPointers(source, &destination) { source, destination throws(CodecError) in
            let (from, into) = (Self.characters(source), Self.characters(destination))
            let (count, room) = (Int32(source.count), Int32(clamping: destination.count))
            let size =
                level < Int(LZ4HC_CLEVEL_MIN)
                ? LZ4_compress_fast(from, into, count, room, 1)
                : LZ4_compress_HC(from, into, count, room, Int32(level))
            guard size > 0 else { throw CodecError.destinationTooSmall }
            return Int(size)
        }
    }

    /// Decompresses one block, of exactly the destination's size.
    public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        guard let size = Int32(exactly: source.byteCount), let room = Int32(exactly: destination.byteCount) else {
            throw CodecError(.notSupported, "An LZ4 block has less than 2 GiB")
        }
        try withPointers(source, &destination) { source, destination throws(CodecError) in
            let count = LZ4_decompress_safe(Self.characters(source), Self.characters(destination), size, room)
            // It says where, as a negative number, but not what: the block may also be that of more bytes.
            guard count >= 0 else {
                throw CodecError(
                    .malformed, offset: min(-Int(count) - 1, source.count),
                    "The LZ4 block is damaged, or holds more than \(room) bytes")
            }
            guard count == room else { throw CodecError.size(Int(count), of: destination.count) }
        }
    }

    private static func characters(_ bytes: UnsafeRawBufferPointer) -> UnsafePointer<CChar> {
        bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
    }

    private static func characters(_ bytes: UnsafeMutableRawBufferPointer) -> UnsafeMutablePointer<CChar> {
        bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
    }
}

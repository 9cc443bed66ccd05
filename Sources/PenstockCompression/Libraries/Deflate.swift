import CDeflate

/// DEFLATE (RFC 1951), bare or in the frame of zlib (RFC 1950) or gzip (RFC 1952), by libdeflate.
public struct Deflate: Codec {
    /// What is around the compressed bytes.
    public enum Framing: Sendable, Hashable {
        /// Nothing.
        case raw
        /// zlib's header, and an Adler-32 of the uncompressed bytes.
        case zlib
        /// gzip's header, and a CRC-32 of the uncompressed bytes.
        case gzip
    }

    /// From 0, which stores, to 12, which is the slowest and smallest. Decoding takes no notice of it.
    public let level: Int
    /// What is around the compressed bytes.
    public let framing: Framing
    private let compressors: ContextStore<OpaquePointer>
    private let decompressors: ContextStore<OpaquePointer>

    /// - Parameters:
    ///   - level: Beyond 0 to 12, the nearest of these.
    ///   - framing: What is around the compressed bytes.
    public init(level: Int = 6, framing: Framing = .raw) {
        let level = min(max(level, 0), 12)
        self.level = level
        self.framing = framing
        compressors = ContextStore(
            make: { libdeflate_alloc_compressor(Int32(level)) }, free: { libdeflate_free_compressor($0) })
        decompressors = ContextStore(
            make: { libdeflate_alloc_decompressor() }, free: { libdeflate_free_decompressor($0) })
    }

    /// `defl`, `zlib` or `gzip`.
    public var identifier: CodecIdentifier {
        switch framing {
        case .raw: "defl"
        case .zlib: "zlib"
        case .gzip: "gzip"
        }
    }

    /// 128 KiB: four times as far as a match reaches back.
    public var chunkSize: Int { 128 << 10 }

    /// The most bytes that encoding so many bytes can give.
    public func bound(of byteCount: Int) -> Int {
        // A block of 5 more bytes for each 5000 at the very least, and the largest frame; as without a compressor.
        switch framing {
        case .raw: libdeflate_deflate_compress_bound(nil, byteCount)
        case .zlib: libdeflate_zlib_compress_bound(nil, byteCount)
        case .gzip: libdeflate_gzip_compress_bound(nil, byteCount)
        }
    }

    /// Compresses all of `source` into the front of `destination`; returns the size.
    public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
        let compress =
            switch framing {
            case .raw: libdeflate_deflate_compress
            case .zlib: libdeflate_zlib_compress
            case .gzip: libdeflate_gzip_compress
            }
        return try withPointers(source, &destination) { source, destination throws(CodecError) in
            let size = try compressors.withContext { context throws(CodecError) in
                compress(context, source.baseAddress, source.count, destination.baseAddress, destination.count)
            }
            guard size > 0 else { throw CodecError.destinationTooSmall }
            return size
        }
    }

    /// Decompresses one stream, of exactly the destination's size.
    public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        let decompress =
            switch framing {
            case .raw: libdeflate_deflate_decompress_ex
            case .zlib: libdeflate_zlib_decompress_ex
            case .gzip: libdeflate_gzip_decompress_ex
            }
        try withPointers(source, &destination) { source, destination throws(CodecError) in
            var (used, count) = (0, 0)
            let result = try decompressors.withContext { context throws(CodecError) in
                decompress(
                    context, source.baseAddress, source.count, destination.baseAddress, destination.count, &used,
                    &count)
            }
            switch result {
            case LIBDEFLATE_SUCCESS: break
            case LIBDEFLATE_INSUFFICIENT_SPACE:
                throw CodecError(.sizeMismatch, "The stream holds more than \(destination.count) bytes")
            // Also what ends too early: the library does not tell the two apart.
            default: throw CodecError(.malformed, "The DEFLATE stream is damaged")
            }
            guard count == destination.count else { throw CodecError.size(count, of: destination.count) }
            guard used == source.count else {
                throw CodecError(.malformed, offset: used, "There are bytes behind the stream")
            }
        }
    }
}

import CZstd

/// Zstandard (RFC 8878), by libzstd: one frame a chunk.
public struct Zstd: Codec {
    /// From −7, which is the fastest, over 3 to 22, which is the smallest. Decoding takes no notice of it.
    public let level: Int
    private let compressors: ContextStore<OpaquePointer>
    private let decompressors: ContextStore<OpaquePointer>

    /// - Parameter level: Beyond the library's own limits, the nearest of them.
    public init(level: Int = 3) {
        self.level = min(max(level, Int(ZSTD_minCLevel())), Int(ZSTD_maxCLevel()))
        compressors = ContextStore(make: { ZSTD_createCCtx() }, free: { ZSTD_freeCCtx($0) })
        decompressors = ContextStore(make: { ZSTD_createDCtx() }, free: { ZSTD_freeDCtx($0) })
    }

    /// `zstd`.
    public var identifier: CodecIdentifier { "zstd" }

    /// 256 KiB: larger ones are hardly smaller, and fewer of them can be decoded at once.
    public var chunkSize: Int { 256 << 10 }

    /// The most bytes that encoding so many bytes can give.
    public func bound(of byteCount: Int) -> Int {
        let bound = ZSTD_compressBound(byteCount)
        return ZSTD_isError(bound) == 0 ? bound : .max
    }

    /// Compresses all of `source` into the front of `destination`; returns the size.
    public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
        try withPointers(source, &destination) { source, destination throws(CodecError) in
            try compressors.withContext { context throws(CodecError) in
                let size = ZSTD_compressCCtx(
                    context, destination.baseAddress, destination.count, source.baseAddress, source.count, Int32(level))
                guard ZSTD_isError(size) == 0 else { throw Self.error(size) }
                return size
            }
        }
    }

    /// Decompresses one frame, of exactly the destination's size.
    public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        try withPointers(source, &destination) { source, destination throws(CodecError) in
            // Formats from before the standard have decoders that were never meant for bytes from anywhere.
            guard source.count >= 4 else { throw CodecError(.truncated, "A zstd frame has a magic number") }
            guard UInt32(littleEndian: source.loadUnaligned(as: UInt32.self)) == ZSTD_MAGICNUMBER else {
                throw CodecError(.malformed, offset: 0, "These bytes are no zstd frame")
            }
            let frame = ZSTD_findFrameCompressedSize(source.baseAddress, source.count)
            guard ZSTD_isError(frame) == 0 else { throw Self.error(frame) }
            guard frame == source.count else {
                throw CodecError(.malformed, offset: frame, "There are bytes behind the frame")
            }
            let count = try decompressors.withContext { context throws(CodecError) in
                ZSTD_decompressDCtx(
                    context, destination.baseAddress, destination.count, source.baseAddress, source.count)
            }
            guard ZSTD_isError(count) == 0 else { throw Self.error(count, decodes: true) }
            guard count == destination.count else { throw CodecError.size(count, of: destination.count) }
        }
    }

    private static func error(_ result: Int, decodes: Bool = false) -> CodecError {
        let message = "zstd: " + String(cString: ZSTD_getErrorName(result))
        switch ZSTD_getErrorCode(result) {
        case ZSTD_error_dstSize_tooSmall:
            return decodes ? CodecError(.sizeMismatch, message) : CodecError.destinationTooSmall
        case ZSTD_error_srcSize_wrong: return CodecError(.truncated, message)
        case ZSTD_error_memory_allocation: return CodecError(.outOfMemory, message)
        default: return CodecError(.malformed, message)
        }
    }
}

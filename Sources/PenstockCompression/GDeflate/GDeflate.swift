/// GDeflate: DEFLATE's symbols dealt to 32 lanes, so that a GPU can decode a page with 32 threads and a CPU can overlap
/// the decoding of many symbols. The format that DirectStorage calls `GDEFLATE`.
public struct GDeflate: Codec {
    /// How the pages are wrapped.
    public enum Framing: Sendable, Hashable {
        /// Up to 65535 pages behind a table of where each begins: what DirectStorage and its tools read and write.
        case tileStream
        /// A single page of at most 65536 uncompressed bytes with nothing around it, as Vulkan's memory decompression
        /// takes it. The uncompressed size has to be known from elsewhere.
        case page
    }

    /// The uncompressed bytes of a page, save the last of a stream.
    public static let pageSize = 1 << 16

    /// From 0, which stores, to 12, which is the slowest and smallest.
    public let level: Int
    /// How the pages are wrapped.
    public let framing: Framing
    private let encoders: ContextStore<UnsafeMutablePointer<GDeflateEncoder>>
    private let decoders: ContextStore<UnsafeMutablePointer<PageDecoder>>

    /// - Parameters:
    ///   - level: From 0, which stores, to 12, which is the slowest and smallest. Decoding takes no notice of it.
    ///   - framing: How the pages are wrapped.
    public init(level: Int = 6, framing: Framing = .tileStream) {
        self.level = level
        self.framing = framing
        // An encoder has up to 3 MB.
        encoders = ContextStore(mostKept: 16, of: { GDeflateEncoder(level: level) })
        decoders = ContextStore(mostKept: 64, of: { try? PageDecoder() })
    }

    /// The same with its pages wrapped otherwise. It shares its memory with this one.
    func framed(as framing: Framing) -> GDeflate { GDeflate(self, framing) }

    private init(_ other: GDeflate, _ framing: Framing) {
        level = other.level
        self.framing = framing
        encoders = other.encoders
        decoders = other.decoders
    }

    /// `gdfl` for tile streams, `gdpg` for pages.
    public var identifier: CodecIdentifier { framing == .tileStream ? "gdfl" : "gdpg" }

    /// One page.
    public var chunkSize: Int { Self.pageSize }

    /// The most bytes that encoding so many bytes can give.
    public func bound(of byteCount: Int) -> Int {
        // For a short page as for a long one: the encoder promises no less.
        let pageBound = GDeflateEncoder.pageBound
        guard framing == .tileStream else { return pageBound }
        let tileCount = TileStream.tileCount(of: byteCount)
        let (bytes, overflow) = tileCount.multipliedReportingOverflow(by: pageBound + TileStream.offsetSize)
        return overflow ? .max : bytes + TileStream.headerSize
    }

    /// Compresses all of `source` into the front of `destination`: a tile stream, or a page.
    ///
    /// An empty source is a stream without tiles, or no bytes at all as a page.
    public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
        let limit = framing == .page ? Self.pageSize : TileStream.mostTiles * Self.pageSize
        guard source.byteCount <= limit else {
            throw CodecError(.notSupported, "At most \(limit) bytes can be encoded at once, not \(source.byteCount)")
        }
        return try destination.withUnsafeMutableBytes { destination throws(CodecError) in
            try source.withUnsafeBytes { source throws(CodecError) in
                try framing == .page ? encodePage(source, into: destination) : encodeTiles(source, into: destination)
            }
        }
    }

    /// Decompresses a tile stream or a page, of exactly the destination's size, from bytes that may be anything.
    ///
    /// Takes 56 KB of memory, which the codec keeps for later calls, and less than 512 KB for a stream's table.
    public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        switch framing {
        case .tileStream: try decodeTiles(source, into: &destination)
        case .page: try decodePage(source, into: &destination)
        }
    }

    private func decodePage(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        guard destination.byteCount <= Self.pageSize else {
            throw CodecError(
                .notSupported, "A page holds at most \(Self.pageSize) bytes, not \(destination.byteCount)")
        }
        // As the encoder has it: no bytes, no page.
        if source.isEmpty, destination.isEmpty { return }
        try decoders.withContext { decoder throws(CodecError) in
            try decoder.pointee.decode(source, into: &destination)
        }
    }

    private func encodePage(
        _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) throws(CodecError) -> Int {
        if source.isEmpty { return 0 }
        return try encoders.withContext { encoder throws(CodecError) in
            guard let size = encoder.pointee.encodePage(source, into: destination) else {
                throw CodecError.destinationTooSmall
            }
            return size
        }
    }

    private func encodeTiles(
        _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) throws(CodecError) -> Int {
        let tileCount = TileStream.tileCount(of: source.count)
        let payload = TileStream.headerSize + TileStream.offsetSize * tileCount
        guard payload <= destination.count else { throw CodecError.destinationTooSmall }
        TileStream.writeHeader(of: source.count, to: destination)
        guard tileCount > 0 else { return payload }
        return try encoders.withContext { encoder throws(CodecError) in
            try encodeTiles(tileCount, behind: payload, source, into: destination, with: &encoder.pointee)
        }
    }

    private func encodeTiles(
        _ tileCount: Int, behind payload: Int, _ source: UnsafeRawBufferPointer,
        into destination: UnsafeMutableRawBufferPointer, with encoder: inout GDeflateEncoder
    ) throws(CodecError) -> Int {
        var size = payload
        for tile in 0..<tileCount {
            let start = size
            let end = min((tile + 1) * Self.pageSize, source.count)
            let page = UnsafeRawBufferPointer(rebasing: source[(tile * Self.pageSize)..<end])
            let room = UnsafeMutableRawBufferPointer(rebasing: destination[start...])
            guard let pageSize = encoder.encodePage(page, into: room) else { throw CodecError.destinationTooSmall }
            size += pageSize
            guard start - payload <= UInt32.max else { throw TileStream.tooLong }
            // The last tile's size stands where the first one's offset, which is 0, would be.
            if tile > 0 { TileStream.writeOffset(start - payload, of: tile, to: destination) }
            if tile == tileCount - 1 { TileStream.writeOffset(pageSize, of: 0, to: destination) }
        }
        return size
    }

    private func decodeTiles(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        let stream = try TileStream(source)
        guard stream.byteCount == destination.byteCount else {
            throw CodecError(
                .sizeMismatch, offset: 0,
                "The stream holds \(stream.byteCount) bytes, the destination \(destination.byteCount)")
        }
        guard stream.tileCount > 0 else { return }
        try destination.withUnsafeMutableBytes { destination throws(CodecError) in
            try source.withUnsafeBytes { source throws(CodecError) in
                try decoders.withContext { decoder throws(CodecError) in
                    try decodeTiles(of: stream, source, into: destination, with: &decoder.pointee)
                }
            }
        }
    }

    private func decodeTiles(
        of stream: TileStream, _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer,
        with decoder: inout PageDecoder
    ) throws(CodecError) {
        for tile in 0..<stream.tileCount {
            let page = stream.page(of: tile)
            let bytes = UnsafeMutableRawBufferPointer(rebasing: destination[stream.destination(of: tile)])
            do throws(CodecError) {
                try decoder.decode(UnsafeRawBufferPointer(rebasing: source[page]), into: bytes)
            } catch {
                throw CodecError(
                    error.code, offset: error.offset.map { page.lowerBound + $0 }, "Tile \(tile): \(error.message)")
            }
        }
    }
}

public import Penstock

/// What was encoded in one piece.
extension StorageQueue {
    /// Reads what was encoded in one piece: `count` bytes of the file that decode to as many as the slice has.
    ///
    /// A GDeflate tile stream is read and decoded tile by tile, on all workers; anything else is one chunk, of at most
    /// 16 MiB.
    /// - Returns: The bytes decoded: all that the slice has.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, at offset: UInt64 = 0, count: Int, into slice: HostBuffer.Slice,
        decoding codec: any Codec, priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil,
        tag: UInt64 = 0
    ) async throws(StorageError) -> Int {
        try await read(.file(file, offset, count: count), into: .host(slice), codec, priority, deadline, tag)
    }

    /// Reads what was encoded in one piece into a device's memory. See
    /// ``read(from:at:count:into:decoding:priority:deadline:tag:)-(_,_,_,HostBuffer.Slice,_,_,_,_)``.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, at offset: UInt64 = 0, count: Int, into memory: some DeviceMemory,
        decoding codec: any Codec, priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil,
        tag: UInt64 = 0
    ) async throws(StorageError) -> Int {
        try await read(.file(file, offset, count: count), into: .init(memory), codec, priority, deadline, tag)
    }

    /// Decodes what is in memory already, encoded in one piece.
    ///
    /// On the queue's workers: the tiles of a GDeflate tile stream side by side, anything else on one of them.
    ///
    /// - Parameters:
    ///   - source: The encoded bytes, all of them; they must stay as they are meanwhile.
    ///   - slice: Where the decoded bytes go; as many as it has.
    ///   - codec: How they are encoded.
    ///   - priority: How soon it matters; nil: the task's priority.
    ///   - deadline: When to give up. A chunk that is being decoded is finished first.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    /// - Returns: The bytes decoded: all that the slice has.
    /// - Throws: ``Penstock/StorageError/Code/malformedData`` for bytes that are not what they should be, in which case the
    ///   slice's are unspecified.
    @discardableResult
    public nonisolated func read(
        from source: HostBuffer.Slice, into slice: HostBuffer.Slice, decoding codec: any Codec,
        priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(StorageError) -> Int {
        try await read(.memory(source), into: .host(slice), codec, priority, deadline, tag)
    }

    /// Decodes what is in memory already into a device's memory. See
    /// ``read(from:into:decoding:priority:deadline:tag:)-(_,HostBuffer.Slice,_,_,_,_)``.
    @discardableResult
    public nonisolated func read(
        from source: HostBuffer.Slice, into memory: some DeviceMemory, decoding codec: any Codec,
        priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(StorageError) -> Int {
        try await read(.memory(source), into: .init(memory), codec, priority, deadline, tag)
    }

    /// Reads or decodes one piece.
    ///
    /// - Parameter codec: Nil: the bytes are what is wanted. The queue's workers copy them, if they are in memory.
    package nonisolated func read(
        _ piece: EncodedPiece, into place: DecodingRequest.Place, _ codec: (any Codec)?, _ priority: StoragePriority?,
        _ deadline: ContinuousClock.Instant?, _ tag: UInt64
    ) async throws(StorageError) -> Int {
        let chunks: [EncodedChunk]
        let source: DecodingRequest.Source
        var pageCodec: (any Codec)?
        switch piece {
        case .file(let file, let offset, let count):
            let whole = EncodedChunk(offset: offset, count: count, decodedCount: place.count, isStored: codec == nil)
            source = .file(file)
            (chunks, pageCodec) = try await self.chunks(of: whole, in: file, codec, priority, deadline, tag)
        case .memory(let memory):
            let whole = EncodedChunk(offset: 0, count: memory.count, decodedCount: place.count, isStored: codec == nil)
            source = .memory(memory)
            (chunks, pageCodec) = try self.chunks(of: whole, in: memory, codec)
        }
        let request = DecodingRequest(
            source, chunks, nil, place, pageCodec ?? Self.anyCodec, nil, priority, deadline, tag)
        return try await perform([request])[0].get()
    }

    /// Of requests whose chunks are all stored.
    private static let anyCodec = LZ4()

    /// What an encoded stretch of a file consists of.
    private nonisolated func chunks(
        of whole: EncodedChunk, in file: StorageFile, _ codec: (any Codec)?, _ priority: StoragePriority?,
        _ deadline: ContinuousClock.Instant?, _ tag: UInt64
    ) async throws(StorageError) -> ([EncodedChunk], (any Codec)?) {
        guard let gdeflate = codec as? GDeflate, gdeflate.framing == .tileStream else { return ([whole], codec) }
        func error(_ code: StorageError.Code, _ underlying: CodecError? = nil) -> StorageError {
            StorageError(
                code, .read, path: file.path, offset: whole.offset, length: whole.count, underlying: underlying)
        }
        guard whole.count >= 0, whole.offset <= UInt64(Int64.max) - UInt64(whole.count) else {
            throw error(.invalidRange)
        }
        // A page holds the head of most; what is longer is read again.
        var head = try await read(
            from: file, whole.offset..<whole.offset + UInt64(min(whole.count, 4096)), priority: priority,
            deadline: deadline, tag: tag)
        let headSize = head.withUnsafeBytes { GDeflate.TileStream.headSize(RawSpan(_unsafeBytes: $0)) }
        if headSize > head.count {
            head = try await read(
                from: file, whole.offset..<whole.offset + UInt64(min(whole.count, headSize)), priority: priority,
                deadline: deadline, tag: tag)
        }
        do throws(CodecError) {
            let pages = try head.withUnsafeBytes { bytes throws(CodecError) in
                try whole.pages(withHead: RawSpan(_unsafeBytes: bytes))
            }
            return (pages, gdeflate.framed(as: .page))
        } catch let reason {
            throw error(.malformedData, reason)
        }
    }

    /// What an encoded stretch of memory consists of.
    private nonisolated func chunks(
        of whole: EncodedChunk, in memory: HostBuffer.Slice, _ codec: (any Codec)?
    ) throws(StorageError) -> ([EncodedChunk], (any Codec)?) {
        if codec == nil { return (whole.parts, nil) }
        guard let gdeflate = codec as? GDeflate, gdeflate.framing == .tileStream, let address = memory.address else {
            return ([whole], codec)
        }
        do throws(CodecError) {
            let bytes = UnsafeRawBufferPointer(start: address, count: memory.count)
            return (try whole.pages(withHead: RawSpan(_unsafeBytes: bytes)), gdeflate.framed(as: .page))
        } catch {
            throw StorageError(.malformedData, .read, offset: 0, length: memory.count, underlying: error)
        }
    }
}

/// Bytes that were encoded in one piece, and where they are.
package enum EncodedPiece: Sendable {
    case file(StorageFile, _ offset: UInt64, count: Int)
    case memory(HostBuffer.Slice)
}

extension EncodedChunk {
    /// The pages of a GDeflate tile stream.
    ///
    /// - Parameter head: Its head, and whatever follows.
    fileprivate func pages(withHead head: RawSpan) throws(CodecError) -> [EncodedChunk] {
        let stream = try GDeflate.TileStream(head: head, streamSize: count)
        guard stream.byteCount == decodedCount else { throw CodecError.size(stream.byteCount, of: decodedCount) }
        return (0..<stream.tileCount).map { tile in
            let page = stream.page(of: tile)
            return EncodedChunk(
                offset: offset + UInt64(page.lowerBound), count: page.count,
                decodedCount: stream.destination(of: tile).count)
        }
    }

    /// A stored chunk as several, for several workers to copy.
    fileprivate var parts: [EncodedChunk] {
        guard count == decodedCount else { return [self] }
        return stride(from: 0, to: count, by: Self.largestPart).map { start in
            let size = min(Self.largestPart, count - start)
            return EncodedChunk(offset: offset + UInt64(start), count: size, decodedCount: size, isStored: true)
        }
    }

    private static var largestPart: Int { 256 << 10 }
}

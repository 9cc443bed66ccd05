public import Penstock

extension StorageQueue {
    /// Encodes a slice chunk by chunk, on the queue's workers, and writes the chunks one after the other. As many are encoded at
    /// once as 4 MiB hold, so chunks of some MiB leave workers idle.
    ///
    /// A chunk that encoding would not make smaller is stored as it is. With `GDeflate(framing: .tileStream)` the file gets
    /// a single tile stream, as other tools read it, and the result is one chunk, without a checksum.
    ///
    /// - Parameters:
    ///   - slice: What to encode.
    ///   - file: A file of this queue, open for writing.
    ///   - offset: Where the first chunk goes, in bytes.
    ///   - codec: How to encode.
    ///   - chunkSize: Bytes of the slice in each chunk; nil: as the codec likes it. At most 4 MiB.
    ///   - hash: What to take the chunks' checksums with; nil: they have none.
    ///   - priority: How soon it matters; nil: the task's priority.
    ///   - deadline: When to give up.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    /// - Returns: What
    ///   ``read(from:chunks:range:into:decoding:checkedBy:priority:deadline:tag:)-(_,_,_,HostBuffer.Slice,_,_,_,_,_)`` wants.
    /// - Throws: Whatever writing throws, in which case a part may be written.
    public nonisolated func write(
        _ slice: HostBuffer.Slice, to file: StorageFile, at offset: UInt64 = 0, encoding codec: any Codec,
        chunkSize: Int? = nil, checkedBy hash: DecodingRequest.Hash? = nil, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(StorageError) -> [EncodedChunk] {
        let options = ChunkWriter.Options(
            chunkSize: chunkSize ?? codec.chunkSize, hash: hash, priority: priority, deadline: deadline, tag: tag)
        guard slice.address != nil else {
            throw StorageError(
                .invalidRange, .write, path: file.path, offset: offset, length: slice.count,
                message: "the slice \(slice.range) lies outside its buffer of \(slice.buffer.count) bytes")
        }
        guard offset <= UInt64(Int64.max) else {
            throw StorageError(
                .invalidRange, .write, path: file.path, offset: offset, length: slice.count,
                message: "no file has a byte there")
        }
        if let gdeflate = codec as? GDeflate, gdeflate.framing == .tileStream {
            return try await writeTileStream(slice, to: file, at: offset, gdeflate, options)
        }
        guard (1...ChunkWriter.largestChunk).contains(options.chunkSize) else {
            throw StorageError(
                .invalidArgument, .write, path: file.path, length: options.chunkSize,
                message: "a chunk has from 1 through \(ChunkWriter.largestChunk) bytes")
        }
        let writer = ChunkWriter(self, try codecWorkers, file, codec, options)
        return try await writer.write(slice, at: offset)
    }

    private nonisolated func writeTileStream(
        _ slice: HostBuffer.Slice, to file: StorageFile, at offset: UInt64, _ codec: GDeflate,
        _ options: ChunkWriter.Options
    ) async throws(StorageError) -> [EncodedChunk] {
        var options = options
        options.chunkSize = GDeflate.pageSize
        options.storesWhatGrows = false
        options.hash = nil
        let headSize = GDeflate.TileStream.headSize(of: slice.count)
        guard GDeflate.TileStream.tileCount(of: slice.count) <= GDeflate.TileStream.mostTiles else {
            throw StorageError(
                .invalidArgument, .write, path: file.path, length: slice.count,
                message: "a tile stream holds less than 4 GiB; write chunks with `framing: .page`")
        }
        let writer = ChunkWriter(
            self, try codecWorkers, file, codec.framed(as: .page), options)
        let tiles = try await writer.write(slice, at: offset + UInt64(headSize))
        guard tiles.dropLast().reduce(0, { $0 + $1.count }) <= UInt32.max else {
            throw StorageError(
                .invalidArgument, .write, path: file.path, offset: offset, length: slice.count,
                underlying: GDeflate.TileStream.tooLong)
        }
        // Last, so that what was broken off does not look like a stream.
        let head = try await allocate(byteCount: headSize)
        head.withUnsafeMutableBytes { GDeflate.TileStream.writeHead(of: slice.count, tiles.map(\.count), to: $0) }
        try await write(
            head[...], to: file, at: offset, priority: options.priority, deadline: options.deadline, tag: options.tag)
        let count = tiles.reduce(headSize) { $0 + $1.count }
        return [EncodedChunk(offset: offset, count: count, decodedCount: slice.count)]
    }
}

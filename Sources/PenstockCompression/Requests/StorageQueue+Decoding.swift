public import Penstock

extension StorageQueue {
    /// Reads encoded chunks, and returns when the slice holds what they decode to.
    ///
    /// What is in the page cache is read by the workers that decode it, straight into the slice; the rest comes through the
    /// queue, is read ahead, and decoded as it arrives. Workers are threads of the queue's own, one for each processor.
    ///
    /// ```swift
    /// let chunks = try await queue.write(mesh[...], to: file, encoding: Zstd())
    /// …
    /// try await queue.read(from: file, chunks: chunks, into: mesh[...], decoding: Zstd())
    /// ```
    ///
    /// - Parameters:
    ///   - file: A file of this queue, open for reading.
    ///   - chunks: What to decode, in order.
    ///   - range: Which of the decoded bytes are wanted; nil: all. Chunks that hold none of them are not read.
    ///   - slice: Where they go; of the range's size.
    ///   - codec: How the chunks are encoded.
    ///   - hash: How to check chunks that have a checksum; nil: they are not checked.
    ///   - priority: How soon it matters; nil: the task's priority.
    ///   - deadline: When to give up. A chunk that is being decoded is finished first.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    /// - Returns: The bytes decoded: all that were asked for.
    /// - Throws: ``Penstock/StorageError/Code/malformedData`` and ``Penstock/StorageError/Code/checksumMismatch`` for bytes
    ///   that are damaged, in which case the slice's are unspecified; whatever reading throws.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, chunks: [EncodedChunk], range: Range<Int>? = nil, into slice: HostBuffer.Slice,
        decoding codec: any Codec, checkedBy hash: DecodingRequest.Hash? = nil, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(StorageError) -> Int {
        try await perform(
            DecodingRequest(
                from: file, chunks: chunks, range: range, into: slice, decoding: codec, checkedBy: hash,
                priority: priority, deadline: deadline, tag: tag))
    }

    /// Reads encoded chunks into a device's memory, such as a slice of a GPU's buffer or parts of its image. See
    /// ``read(from:chunks:range:into:decoding:checkedBy:priority:deadline:tag:)-(_,_,_,HostBuffer.Slice,_,_,_,_,_)``.
    @discardableResult
    public nonisolated func read(
        from file: StorageFile, chunks: [EncodedChunk], range: Range<Int>? = nil, into memory: some DeviceMemory,
        decoding codec: any Codec, checkedBy hash: DecodingRequest.Hash? = nil, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) async throws(StorageError) -> Int {
        try await perform(
            DecodingRequest(
                from: file, chunks: chunks, range: range, into: memory, decoding: codec, checkedBy: hash,
                priority: priority, deadline: deadline, tag: tag))
    }

    /// Performs many reads of encoded chunks with one suspension, each with its own result. Chunks that are neighbours in a
    /// file are read together, whichever request they are of.
    ///
    /// - Returns: The bytes decoded, or the error, of each request in the order given.
    public nonisolated func perform(_ requests: [DecodingRequest]) async -> [Result<Int, StorageError>] {
        guard !requests.isEmpty else { return [] }
        do throws(StorageError) {
            return await DecodeBatch(requests, self, try codecWorkers).results()
        } catch {
            return requests.map { .failure($0.error(error.code)) }
        }
    }

    private nonisolated func perform(_ request: DecodingRequest) async throws(StorageError) -> Int {
        try await perform([request])[0].get()
    }
}

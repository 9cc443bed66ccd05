extension StorageQueue {
    /// A file's bytes as a sequence of buffers, read ahead of their use.
    ///
    /// ```swift
    /// for try await chunk in queue.chunks(of: file, size: 1 << 20) {
    ///     chunk.withUnsafeBytes { hasher.update(bufferPointer: $0) }
    /// }
    /// ```
    ///
    /// At most `readAhead` chunks are in flight or waiting, however slowly they are consumed; each is a buffer of its own,
    /// whose memory is used again when it is dropped.
    ///
    /// - Parameters:
    ///   - file: A file of this queue, open for reading.
    ///   - size: Bytes in each chunk; the last may be shorter.
    ///   - range: Which bytes; nil: from the start to the end, wherever that is when it is reached.
    ///   - readAhead: Chunks in flight or waiting, at most.
    ///   - priority: How soon they matter; nil: the task's priority.
    public nonisolated func chunks(
        of file: StorageFile, size: Int = 1 << 20, range: Range<UInt64>? = nil, readAhead: Int = 4,
        priority: StoragePriority? = nil
    ) -> StorageChunks {
        StorageChunks(
            queue: self, file: file, size: max(1, size), range: range ?? 0..<Transfer.largestOffset,
            readAhead: max(1, readAhead), priority: priority)
    }
}

/// The sequence that ``StorageQueue/chunks(of:size:range:readAhead:priority:)`` returns.
public struct StorageChunks: AsyncSequence, Sendable {
    /// A chunk's bytes.
    public typealias Element = HostBuffer
    /// Why a chunk could not be read.
    public typealias Failure = StorageError

    let queue: StorageQueue
    let file: StorageFile
    let size: Int
    let range: Range<UInt64>
    let readAhead: Int
    let priority: StoragePriority?

    /// Starts at the range's start.
    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    /// Reads ahead, and hands out the chunks in order.
    public struct Iterator: AsyncIteratorProtocol {
        private let window: Window

        init(_ chunks: StorageChunks) { window = Window(chunks) }

        /// The next chunk, or nil at the end.
        public mutating func next() async throws(StorageError) -> HostBuffer? { try await window.next() }

        /// The next chunk, or nil at the end.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(StorageError) -> HostBuffer? {
            try await window.next()
        }
    }

    /// The chunks in flight, oldest first. Used by one task at a time; ends its reads when it goes.
    private final class Window {
        private let chunks: StorageChunks
        private var reads: [Task<Result<HostBuffer, StorageError>, Never>] = []
        private var position: UInt64
        private var isOver = false

        init(_ chunks: StorageChunks) {
            self.chunks = chunks
            position = chunks.range.lowerBound
        }

        deinit { reads.forEach { $0.cancel() } }

        func next() async throws(StorageError) -> HostBuffer? {
            guard !isOver else { return nil }
            // What has been read ahead is no reason to go on.
            guard !Task.isCancelled else {
                await end()
                throw StorageError(.cancelled, .read, path: chunks.file.path, offset: position)
            }
            while reads.count < chunks.readAhead, position < chunks.range.upperBound {
                // Memory is taken here and in order: chunks further ahead must not hold what the next one waits for.
                let count = Int(Swift.min(UInt64(chunks.size), chunks.range.upperBound - position))
                if reads.isEmpty {
                    startRead(into: try await chunks.queue.allocate(byteCount: count))
                } else if let buffer = chunks.queue.core.allocateNow(count) {
                    startRead(into: buffer)
                } else {
                    break
                }
            }
            guard !reads.isEmpty else { return nil }
            let read = reads.removeFirst()
            let result = await withTaskCancellationHandler {
                await read.value
            } onCancel: {
                read.cancel()
            }
            switch result {
            case .failure(let error):
                await end()
                throw error
            case .success(let buffer):
                // A short chunk is the last one: what lies ahead of it lies behind the end of the file.
                if buffer.count < chunks.size { await end() }
                return buffer.count == 0 ? nil : buffer
            }
        }

        private func startRead(into buffer: HostBuffer) {
            let (chunks, offset) = (chunks, position)
            position += UInt64(buffer.count)
            reads.append(
                Task(priority: Task.currentPriority) {
                    do throws(StorageError) {
                        let count = try await chunks.queue.read(
                            from: chunks.file, at: offset, into: buffer, priority: chunks.priority)
                        return .success(buffer.prefix(count))
                    } catch {
                        return .failure(error)
                    }
                })
        }

        /// Leaves nothing running behind: what was read ahead is cancelled and waited for.
        private func end() async {
            isOver = true
            reads.forEach { $0.cancel() }
            for read in reads { _ = await read.value }
            reads = []
        }
    }
}

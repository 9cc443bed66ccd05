import Penstock

/// Encodes chunks on a queue's workers, a window of them at a time, and writes one window while the next is encoded.
struct ChunkWriter: Sendable {
    /// How chunks are made.
    struct Options: Sendable {
        /// Bytes in each chunk but the last.
        var chunkSize: Int
        var hash: DecodingRequest.Hash?
        var priority: StoragePriority?
        var deadline: ContinuousClock.Instant?
        var tag: UInt64
        /// Whether a chunk that encoding makes no smaller is written as it is.
        var storesWhatGrows = true
    }

    /// Of a chunk before encoding: two windows of one such chunk fit into the landing memory, whatever the codec.
    static let largestChunk = 4 << 20
    /// Bytes of chunks in a window, about: enough that a write is worth its system call.
    private static let windowBytes = 1 << 20

    /// Chunks that have been encoded, one after the other in memory.
    private struct Window {
        let memory: HostBuffer.Slice
        let chunks: [EncodedChunk]
        var count: Int { chunks.reduce(0) { $0 + $1.count } }
    }

    private let queue: StorageQueue
    private let workers: CodecWorkers
    private let file: StorageFile
    private let codec: any Codec
    private let options: Options

    init(
        _ queue: StorageQueue, _ workers: CodecWorkers, _ file: StorageFile, _ codec: any Codec, _ options: Options
    ) {
        self.queue = queue
        self.workers = workers
        self.file = file
        self.codec = codec
        self.options = options
    }

    func write(_ slice: HostBuffer.Slice, at offset: UInt64) async throws(StorageError) -> [EncodedChunk] {
        let mostAtOnce = max(1, Self.largestChunk / options.chunkSize)
        let step = options.chunkSize * min(mostAtOnce, max(workers.width, Self.windowBytes / options.chunkSize))
        guard slice.count > 0 else { return [] }
        // Room for what is stored, too.
        let room = max(codec.bound(of: options.chunkSize), options.chunkSize)
        let (window, overflow) = room.multipliedReportingOverflow(by: step / options.chunkSize)
        // All that the call will need in one piece: who holds some while he waits for more can wait for ever.
        let memory = try await takeMemory(overflow ? .max : window, windows: slice.count > step ? 2 : 1)
        var chunks: [EncodedChunk] = []
        var position = offset
        var encoded: Window?
        var half = 0
        for start in stride(from: 0, to: slice.count, by: step) {
            let range = start..<min(start + step, slice.count)
            let last = encoded
            let (place, end) = (position, position + UInt64(last?.count ?? 0))
            async let written: Result<Void, StorageError> = write(last, at: place)
            let next = await encode(slice, range, into: memory[half * window..<(half + 1) * window], room, at: end)
            try await written.get()
            position = end
            half ^= 1
            encoded = try next.get()
            chunks += encoded!.chunks
        }
        try await write(encoded, at: position).get()
        return chunks
    }

    private func write(_ window: Window?, at offset: UInt64) async -> Result<Void, StorageError> {
        guard let window else { return .success(()) }
        do throws(StorageError) {
            try await queue.write(
                window.memory.prefix(window.count), to: file, at: offset, priority: options.priority,
                deadline: options.deadline, tag: options.tag)
            return .success(())
        } catch {
            return .failure(error)
        }
    }

    /// Encodes a range of the slice, whose chunks will be written from `offset` on.
    private func encode(
        _ slice: HostBuffer.Slice, _ range: Range<Int>, into memory: HostBuffer.Slice, _ room: Int, at offset: UInt64
    ) async -> Result<Window, StorageError> {
        let size = options.chunkSize
        let count = (range.count + size - 1) / size
        do throws(StorageError) {
            let outcomes = Locked([Result<EncodedChunk, CodecError>?](repeating: nil, count: count))
            try await workers.perform(
                count, priority: options.priority, tag: options.tag, deadline: options.deadline
            ) { index in
                let lower = range.lowerBound + index * size
                let source = lower..<min(lower + size, range.upperBound)
                let outcome = encode(slice, source, into: memory.part(index * room..<(index + 1) * room))
                outcomes.withLock { $0[index] = outcome }
            }
            var chunks: [EncodedChunk] = []
            for outcome in outcomes.withLock({ $0 }) {
                switch outcome! {
                case .success(let chunk): chunks.append(chunk)
                case .failure(let reason):
                    throw error(.other, offset, range.count, "the codec could not encode a chunk", reason)
                }
            }
            return .success(Window(memory: memory, chunks: Self.close(chunks, up: memory, room, offset)))
        } catch {
            return .failure(error)
        }
    }

    /// Encodes one chunk into its room.
    private func encode(
        _ slice: HostBuffer.Slice, _ range: Range<Int>, into room: HostBuffer.Slice
    ) -> Result<EncodedChunk, CodecError> {
        slice.withUnsafeBytes { bytes in
            room.withUnsafeMutableBytes { room in
                Result { () throws(CodecError) in
                    let source = UnsafeRawBufferPointer(rebasing: bytes[range])
                    var span = MutableRawSpan(_unsafeBytes: room)
                    var count = try codec.encode(RawSpan(_unsafeBytes: source), into: &span)
                    // A codec of the application's may say anything.
                    guard (0...room.count).contains(count) else {
                        throw CodecError(.sizeMismatch, "The codec gives \(count) bytes for \(room.count)")
                    }
                    let isStored = options.storesWhatGrows && count >= source.count
                    if isStored {
                        count = source.count
                        room.copyMemory(from: source)
                    }
                    let encoded = UnsafeRawBufferPointer(rebasing: room[0..<count])
                    return EncodedChunk(
                        offset: 0, count: count, decodedCount: source.count, isStored: isStored,
                        checksum: options.hash?(RawSpan(_unsafeBytes: encoded)))
                }
            }
        }
    }

    /// Moves the chunks together, and says where each will be in the file.
    private static func close(
        _ chunks: [EncodedChunk], up memory: HostBuffer.Slice, _ room: Int, _ offset: UInt64
    ) -> [EncodedChunk] {
        memory.withUnsafeMutableBytes { bytes in
            var end = 0
            return chunks.enumerated().map { index, chunk in
                var chunk = chunk
                chunk.offset = offset + UInt64(end)
                (bytes.baseAddress! + end).copyMemory(from: bytes.baseAddress! + index * room, byteCount: chunk.count)
                end += chunk.count
                return chunk
            }
        }
    }

    private func takeMemory(_ window: Int, windows: Int) async throws(StorageError) -> HostBuffer {
        let (count, overflow) = window.multipliedReportingOverflow(by: windows)
        guard !overflow, workers.landing.canEverHold(count) else {
            throw error(.memoryLimit, nil, window, "the codec may need more memory than there is; make chunks smaller")
        }
        let block = try await queue.core.take(count, from: workers.landing, path: file.path, deadline: options.deadline)
        return HostBuffer(block: block, count: count, arena: workers.landing)
    }

    private func error(
        _ code: StorageError.Code, _ offset: UInt64?, _ count: Int, _ message: String,
        _ underlying: CodecError? = nil
    ) -> StorageError {
        StorageError(
            code, .write, path: file.path, offset: offset, length: count, message: message, underlying: underlying)
    }
}

extension HostBuffer.Slice {
    fileprivate func part(_ range: Range<Int>) -> HostBuffer.Slice {
        buffer[self.range.lowerBound + range.lowerBound..<self.range.lowerBound + range.upperBound]
    }

    fileprivate func prefix(_ count: Int) -> HostBuffer.Slice { part(0..<count) }
}

public import Penstock
import SystemPackage

/// A read of encoded chunks from a file or from memory, whose decoded bytes, one chunk's after the other's, are the bytes
/// asked for.
public struct DecodingRequest: Sendable {
    /// Hashes a chunk's bytes as they are in the file. Called on the queue's workers.
    public typealias Hash = @Sendable (RawSpan) -> UInt64

    /// Where the encoded bytes are.
    package enum Source: Sendable {
        case file(StorageFile)
        case memory(HostBuffer.Slice)
    }

    package enum Place: Sendable {
        case host(HostBuffer.Slice)
        case device(SinkSlice, DevicePlace.Decoding?)

        var count: Int {
            switch self {
            case .host(let slice): slice.count
            case .device(let slice, _): slice.count
            }
        }
    }

    /// What to decode, in order. Offsets are counted from the start of the file, or of the slice of memory.
    public var chunks: [EncodedChunk]
    /// Which of the decoded bytes are wanted; as many as the destination holds.
    public var range: Range<Int>
    /// How the chunks are encoded.
    public var codec: any Codec
    /// How to check chunks that have a checksum; nil: they are not checked.
    public var hash: Hash?
    /// How soon it matters; nil: the task's priority.
    public var priority: StoragePriority?
    /// When to give up.
    public var deadline: ContinuousClock.Instant?
    /// For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    public var tag: UInt64
    /// Where to decode; nil: as the queue's ``Penstock/StorageQueue/decodingPolicy`` says.
    public var processor: DecodingPolicy.Processor?
    let source: Source
    let place: Place

    /// The file to read from; nil: the encoded bytes are in memory.
    public var file: StorageFile? { if case .file(let file) = source { file } else { nil } }

    /// A read into host memory.
    ///
    /// - Parameters:
    ///   - file: A file of the queue's, open for reading.
    ///   - chunks: What to decode, in order.
    ///   - range: Which of the decoded bytes are wanted; nil: all.
    ///   - slice: Where they go; of the range's size.
    ///   - codec: How the chunks are encoded.
    ///   - hash: How to check chunks that have a checksum; nil: they are not checked.
    ///   - priority: How soon it matters; nil: the task's priority.
    ///   - deadline: When to give up.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    public init(
        from file: StorageFile, chunks: [EncodedChunk], range: Range<Int>? = nil, into slice: HostBuffer.Slice,
        decoding codec: any Codec, checkedBy hash: Hash? = nil, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) {
        self.init(.file(file), chunks, range, .host(slice), codec, hash, priority, deadline, tag)
    }

    /// A read into a device's memory, such as a slice of a GPU's buffer or parts of its image.
    public init(
        from file: StorageFile, chunks: [EncodedChunk], range: Range<Int>? = nil, into memory: some DeviceMemory,
        decoding codec: any Codec, checkedBy hash: Hash? = nil, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) {
        self.init(.file(file), chunks, range, Place(memory), codec, hash, priority, deadline, tag)
    }

    /// A read of chunks that are in memory already, which must stay as they are until it has ended.
    public init(
        from source: HostBuffer.Slice, chunks: [EncodedChunk], range: Range<Int>? = nil,
        into slice: HostBuffer.Slice, decoding codec: any Codec, checkedBy hash: Hash? = nil,
        priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) {
        self.init(.memory(source), chunks, range, .host(slice), codec, hash, priority, deadline, tag)
    }

    /// A read of chunks that are in memory already into a device's memory.
    public init(
        from source: HostBuffer.Slice, chunks: [EncodedChunk], range: Range<Int>? = nil,
        into memory: some DeviceMemory, decoding codec: any Codec, checkedBy hash: Hash? = nil,
        priority: StoragePriority? = nil, deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) {
        self.init(.memory(source), chunks, range, Place(memory), codec, hash, priority, deadline, tag)
    }

    init(
        _ source: Source, _ chunks: [EncodedChunk], _ range: Range<Int>?, _ place: Place, _ codec: any Codec,
        _ hash: Hash?, _ priority: StoragePriority?, _ deadline: ContinuousClock.Instant?, _ tag: UInt64
    ) {
        self.source = source
        self.chunks = chunks
        // What is wrong with the chunks' sizes, the request says when it is performed.
        self.range = range ?? 0..<max(0, chunks.reduce(0) { $0 &+ $1.decodedCount })
        self.codec = codec
        self.hash = hash
        self.priority = priority
        self.deadline = deadline
        self.tag = tag
        self.place = place
    }

    var options: RequestOptions { RequestOptions(priority, tag, nil, deadline) }

    /// An error of this request.
    func error(
        _ code: StorageError.Code, at chunk: EncodedChunk? = nil, _ message: String? = nil,
        underlying: (any Error)? = nil
    ) -> StorageError {
        StorageError(
            code, .read, path: source.path, offset: chunk?.offset ?? chunks.first?.offset,
            length: chunk?.count ?? range.safeCount, message: message, underlying: underlying)
    }
}

extension DecodingRequest.Place {
    package init(_ memory: some DeviceMemory) {
        let place = memory.place
        self = .device(place.slice, place.decoding)
    }
}

extension DecodingRequest.Source {
    var path: FilePath? { if case .file(let file) = self { file.path } else { nil } }

    /// Whether both are the same file, or the same memory.
    static func == (one: Self, other: Self) -> Bool {
        switch (one, other) {
        case (.file(let one), .file(let other)): one === other
        case (.memory(let one), .memory(let other)): one.address == other.address && one.count == other.count
        default: false
        }
    }
}

public import Penstock
public import PenstockCompression

/// A read of an entry, or of a part of it, for ``StorageArchive/perform(_:)``.
public struct ArchiveRead: Sendable {
    enum Place: Sendable {
        case host(HostBuffer.Slice)
        case device(any DeviceMemory)

        var count: Int {
            switch self {
            case .host(let slice): slice.count
            case .device(let memory): memory.count
            }
        }
    }

    /// What to read from.
    public let entry: ArchiveEntry
    /// Where to start, in uncompressed bytes.
    public let offset: UInt64
    /// How soon it matters; nil: the task's priority.
    public var priority: StoragePriority?
    /// When to give up. A chunk that is being decoded is finished first.
    public var deadline: ContinuousClock.Instant?
    /// For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    public var tag: UInt64
    /// Where to decode; nil: as the queue's policy says.
    public var processor: DecodingPolicy.Processor?
    let place: Place

    /// A read into host memory: as many bytes as the slice has, or as the entry has left.
    public init(
        _ entry: ArchiveEntry, at offset: UInt64 = 0, into slice: HostBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) {
        self.init(entry, offset, .host(slice), priority, deadline, tag)
    }

    /// A read into a device's memory, such as a slice of a GPU's buffer or parts of its image: as many bytes as it has, which
    /// the entry must have.
    public init(
        _ entry: ArchiveEntry, at offset: UInt64 = 0, into memory: some DeviceMemory, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) {
        self.init(entry, offset, .device(memory), priority, deadline, tag)
    }

    private init(
        _ entry: ArchiveEntry, _ offset: UInt64, _ place: Place, _ priority: StoragePriority?,
        _ deadline: ContinuousClock.Instant?, _ tag: UInt64
    ) {
        self.entry = entry
        self.offset = offset
        self.place = place
        self.priority = priority
        self.deadline = deadline
        self.tag = tag
    }

    /// The request for the chunks that have bytes of the part; nil: it has no bytes.
    func request() throws(ArchiveError) -> DecodingRequest? {
        guard offset <= entry.size else { throw outside }
        let left = entry.size - offset
        let count: Int
        switch place {
        case .host(let slice):
            guard slice.range.lowerBound >= 0, slice.range.upperBound <= slice.buffer.count else { throw outside }
            count = Int(min(UInt64(slice.count), left))
        case .device(let memory):
            guard UInt64(memory.count) <= left else { throw outside }
            count = memory.count
        }
        guard count > 0 else { return nil }
        let size = UInt64(entry.chunkSize)
        let (first, last) = (Int(offset / size), Int((offset + UInt64(count) - 1) / size))
        // Within the chunks.
        let skip = Int(offset - UInt64(first) * size)
        var place = place
        if case .host(let slice) = place {
            place = .host(slice.buffer[slice.range.lowerBound..<slice.range.lowerBound + count])
        }
        var request = try entry.layer.request(
            entry, first..<last + 1, skip..<skip + count, into: place, priority: priority)
        request.deadline = deadline
        request.tag = tag
        request.processor = processor
        return request
    }

    private var outside: ArchiveError {
        ArchiveError(
            .invalidRange, file: entry.layer.file.path, entry: entry.path,
            "The entry has \(entry.size) bytes; \(place.count) from \(offset) on are not among them, or have no room")
    }
}

extension StorageArchive {
    /// Performs many reads with one suspension, each with its own result. Entries that are neighbours in the archive are read
    /// together.
    ///
    /// - Returns: The bytes read, or the error, of each read in the order given.
    public func perform(_ reads: [ArchiveRead]) async -> [Result<Int, ArchiveError>] {
        var results: [Result<Int, ArchiveError>] = []
        var requests: [DecodingRequest] = []
        var places: [Int] = []
        for read in reads {
            do throws(ArchiveError) {
                if let request = try read.request() {
                    requests.append(request)
                    places.append(results.count)
                }
                results.append(.success(0))
            } catch {
                results.append(.failure(error))
            }
        }
        for (place, result) in zip(places, await queue.perform(requests)) {
            let entry = reads[place].entry
            results[place] = result.mapError { entry.layer.error($0, entry) }
        }
        return results
    }
}

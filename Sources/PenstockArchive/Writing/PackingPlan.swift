import Penstock
import SystemPackage

/// What an archive is to hold, in the table's order.
struct PackingPlan: Sendable {
    enum Item: Sendable {
        case source(ArchiveSource)
        case deletion(String)

        var path: String {
            switch self {
            case .source(let source): source.path
            case .deletion(let path): path
            }
        }
    }

    private(set) var items: [Item]
    private(set) var byteCount: UInt64 = 0
    /// The uncompressed bytes of the largest source.
    private(set) var largestSource: UInt64 = 0

    init(all sources: [ArchiveSource]) { self.init(items: sources.map { .source($0) }) }

    private init(items: [Item]) {
        self.items = items
        for case .source(let source) in items {
            // What sparse files claim can add up to more than there are numbers for.
            byteCount = byteCount.addingSaturated(source.size)
            largestSource = max(largestSource, source.size)
        }
    }

    /// Refuses what readers would by default, before anything is written.
    func checkTable(_ chunkSize: Int, _ file: FilePath) throws(ArchiveError) {
        var (chunks, pathBytes) = (UInt64(0), 0)
        for item in items {
            pathBytes += item.path.utf8.count
            guard case .source(let source) = item, source.size > 0 else { continue }
            chunks = chunks.addingSaturated((source.size - 1) / UInt64(chunkSize) + 1)
        }
        let limits = ArchiveLimits()
        guard items.count <= limits.entries, chunks <= UInt32.max,
            ArchiveHeader.tableSize(items.count, Int(chunks), pathBytes) <= limits.tableBytes
        else {
            throw ArchiveError(
                .limitExceeded, file: file,
                "There is more than readers take by default; make several archives, or patches")
        }
    }

    /// What differs from the base, found by comparing the bytes themselves.
    ///
    /// - Parameter width: How many sources are compared at a time.
    init(
        _ sources: [ArchiveSource], over base: StorageArchive, queue: StorageQueue, width: Int
    ) async throws(ArchiveError) {
        let outcome: Result<[Bool], ArchiveError> = await withTaskGroup(
            of: (Int, Result<Bool, ArchiveError>).self
        ) { group in
            var differs = [Bool](repeating: true, count: sources.count)
            var failure: ArchiveError?
            var next = 0
            var running = 0
            while running > 0 || (next < sources.count && failure == nil) {
                while running < width, next < sources.count, failure == nil {
                    let (index, source) = (next, sources[next])
                    next += 1
                    guard let entry = base[source.path], entry.size == source.size else { continue }
                    running += 1
                    group.addTask {
                        let result = await result { () async throws(ArchiveError) in
                            try await base.differs(entry, from: source, on: queue)
                        }
                        return (index, result)
                    }
                }
                guard let (index, result) = await group.next() else { break }
                running -= 1
                switch result {
                case .success(let isDifferent): differs[index] = isDifferent
                case .failure(let error):
                    failure = failure ?? error
                    group.cancelAll()
                }
            }
            if let failure { return .failure(failure) }
            return .success(differs)
        }
        let differs = try outcome.get()
        let changed = sources.indices.filter { differs[$0] }.map { Item.source(sources[$0]) }
        // One pass over both, which have the same order.
        var deletions: [Item] = []
        var next = 0
        for entry in base.entries {
            while next < sources.count, EntryPath.precedes(sources[next].path, entry.path) { next += 1 }
            let isKept = next < sources.count && sources[next].path.utf8.elementsEqual(entry.path.utf8)
            if !isKept { deletions.append(.deletion(entry.path)) }
        }
        self.init(items: (changed + deletions).sorted { EntryPath.precedes($0.path, $1.path) })
    }
}

extension StorageArchive {
    /// Bytes compared at a time, unless a chunk has more.
    private static let comparedBytes = 256 << 10

    /// Whether the entry's bytes are others than the source's, which has as many.
    fileprivate func differs(
        _ entry: ArchiveEntry, from source: ArchiveSource, on queue: StorageQueue
    ) async throws(ArchiveError) -> Bool {
        guard entry.size > 0 else { return false }
        let reader = try await SourceReader(source, on: queue)
        // Whole chunks, or each would be decoded several times; unless there can be no memory for them.
        let chunks = max(1, Self.comparedBytes / entry.chunkSize) * entry.chunkSize
        let whole = Int(min(UInt64(chunks), entry.size))
        // In one piece: who holds memory while it waits for more can wait for ever.
        let half = queue.core.canHoldAtOnce(2 * whole) ? whole : min(whole, Self.comparedBytes)
        let buffer: HostBuffer
        do throws(StorageError) {
            buffer = try await queue.allocate(byteCount: 2 * half)
        } catch {
            throw ArchiveError(error, entry: source.path, "There is no memory to compare with the base")
        }
        var offset: UInt64 = 0
        while offset < entry.size {
            let count = Int(min(UInt64(half), entry.size - offset))
            let (new, old) = (buffer[0..<count], buffer[half..<half + count])
            try await reader.read(at: offset, into: new)
            try await read(entry, at: offset, into: old)
            let isSame = new.withUnsafeBytes { new in old.withUnsafeBytes { old in new.elementsEqual(old) } }
            guard isSame else { return true }
            offset += UInt64(count)
        }
        return false
    }
}

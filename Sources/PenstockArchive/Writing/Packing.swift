import Penstock
import PenstockCompression

/// One archive being written: chunks are read and encoded many at a time, and written in their order.
struct Packing: Sendable {
    private let writer: ArchiveWriter
    private let plan: PackingPlan
    private let output: ArchiveOutput
    private let progress: (@Sendable (ArchiveProgress) -> Void)?

    init(
        _ writer: ArchiveWriter, _ plan: PackingPlan, _ output: ArchiveOutput,
        _ progress: (@Sendable (ArchiveProgress) -> Void)?
    ) {
        self.writer = writer
        self.plan = plan
        self.output = output
        self.progress = progress
    }

    /// Entries of so many bytes begin at a block, so that reading them whole begins at one.
    private static let largeEntry: UInt64 = 512 << 10
    /// Chunks stored as they are that begin at a block, so that direct I/O can move them where they are wanted. Smaller
    /// ones would waste too much.
    private static let largeStoredChunk = 32 << 10

    /// A chunk's task: which chunk it was, and what has come of it. A deletion has none.
    private typealias Outcome = (index: Int, result: Result<PackedChunk?, ArchiveError>)

    func run(baseIdentity: UInt64?) async throws(ArchiveError) -> ArchiveWriter.Summary {
        try checkMemory()
        var assembly = Assembly(plan, writer)
        var cursor = Cursor(plan, writer)
        let failure: ArchiveError? = await withTaskGroup(of: Outcome.self) { group in
            do throws(ArchiveError) {
                try await pump(&cursor, &assembly, &group)
                return nil
            } catch {
                // The group waits for its tasks, whose memory nobody else holds.
                group.cancelAll()
                return error
            }
        }
        if let failure { throw failure }
        return try await assembly.finish(output, baseIdentity: baseIdentity)
    }

    /// The output's buffer is held while memory for a chunk is waited for: a queue that cannot hold both would never go on.
    private func checkMemory() throws(ArchiveError) {
        let largest = min(plan.largestSource, UInt64(writer.chunkSize))
        guard largest > 0 else { return }
        let room = PackedChunk.room(for: Int(largest), writer.codec)
        guard writer.queue.core.canHoldAtOnce(room, ArchiveOutput.bufferSize) else {
            throw ArchiveError(
                StorageError(.memoryLimit, .allocate, length: room), file: output.path,
                "There is no memory to encode a chunk with")
        }
    }

    private func pump(
        _ cursor: inout Cursor, _ assembly: inout Assembly, _ group: inout TaskGroup<Outcome>
    ) async throws(ArchiveError) {
        var (started, written) = (0, 0)
        var ready: [Int: PackedChunk?] = [:]
        var waiting: Cursor.Job?
        while true {
            while started - written < writer.window, let job = waiting ?? cursor.next() {
                waiting = job
                // Memory is taken here and in order: chunks further ahead must not hold what the next one waits for.
                var buffer: HostBuffer?
                if job.count > 0 {
                    buffer = try await memory(for: job, isOldest: started == written)
                    guard buffer != nil else { break }
                }
                waiting = nil
                let index = started
                started += 1
                group.addTask {
                    let result = await result { () async throws(ArchiveError) in try await pack(job, in: buffer) }
                    return (index, result)
                }
            }
            guard written < started else { return }
            guard let outcome = await group.next() else { preconditionFailure("a chunk has got lost") }
            ready.updateValue(try outcome.result.get(), forKey: outcome.index)
            while let chunk = ready.removeValue(forKey: written) {
                guard !Task.isCancelled else { throw ArchiveError.cancelled(output.path) }
                try await take(chunk, &assembly)
                written += 1
            }
        }
    }

    /// Memory to read and encode a chunk in; nil: there is none now, and older chunks will return some.
    private func memory(for job: Cursor.Job, isOldest: Bool) async throws(ArchiveError) -> HostBuffer? {
        let count = PackedChunk.room(for: job.count, writer.codec)
        guard isOldest else { return writer.queue.core.allocateNow(count) }
        do throws(StorageError) {
            return try await writer.queue.allocate(byteCount: count)
        } catch {
            throw ArchiveError(error, entry: job.source?.path, "There is no memory to encode a chunk with")
        }
    }

    /// Reads and encodes a chunk.
    private func pack(_ job: Cursor.Job, in buffer: HostBuffer?) async throws(ArchiveError) -> PackedChunk? {
        guard let source = job.source else { return nil }
        let reader: SourceReader
        if let shared = job.reader {
            reader = try await shared.value.get()
        } else {
            reader = try await SourceReader(source, on: writer.queue)
        }
        guard let buffer else { return nil }
        let codec = writer.codec
        try await reader.read(at: job.offset, into: buffer[0..<job.count])
        let count = job.count
        let result: Result<PackedChunk, CodecError>
        do throws(StorageError) {
            result = try await writer.queue.work {
                Result { () throws(CodecError) in try PackedChunk(buffer, count: count, codec) }
            }
        } catch {
            throw ArchiveError(error, entry: source.path, "A chunk cannot be encoded")
        }
        do throws(CodecError) {
            return try result.get()
        } catch {
            throw ArchiveError(.storage, entry: source.path, "A chunk cannot be encoded", underlying: error)
        }
    }

    /// Writes a chunk, the next in order.
    private func take(_ chunk: PackedChunk?, _ assembly: inout Assembly) async throws(ArchiveError) {
        if let chunk {
            let isLargeStart = assembly.isAtStart && assembly.size >= Self.largeEntry
            let isLarge = chunk.isStored && chunk.bytes.count >= Self.largeStoredChunk
            let alignment = isLargeStart || isLarge ? ArchiveFormat.blockSize : ArchiveFormat.alignment
            let offset = try await output.append(chunk.bytes, alignment: alignment)
            assembly.add(
                .init(
                    offset: offset, count: chunk.bytes.count, isStored: chunk.isStored, checksum: chunk.checksum),
                decodedCount: chunk.decodedCount)
        }
        try assembly.finishItem()
        progress?(assembly.progress)
    }
}

/// Goes through a plan chunk by chunk.
private struct Cursor {
    struct Job: Sendable {
        /// Nil for a deletion.
        var source: ArchiveSource?
        /// For a source of several chunks, which share it.
        var reader: Task<Result<SourceReader, ArchiveError>, Never>?
        var offset: UInt64 = 0
        var count = 0
    }

    private let items: [PackingPlan.Item]
    private let writer: ArchiveWriter
    private var item = 0
    private var job = Job()

    init(_ plan: PackingPlan, _ writer: ArchiveWriter) {
        items = plan.items
        self.writer = writer
    }

    /// The next chunk; one without bytes for an entry that has none.
    mutating func next() -> Job? {
        guard item < items.count else { return nil }
        guard case .source(let source) = items[item] else {
            item += 1
            return Job()
        }
        if job.source == nil {
            job.source = source
            if source.size > UInt64(writer.chunkSize) { job.reader = open(source) }
        }
        job.count = Int(min(UInt64(writer.chunkSize), source.size - job.offset))
        let next = job
        job.offset += UInt64(job.count)
        if job.offset == source.size {
            job = Job()
            item += 1
        }
        return next
    }

    private func open(_ source: ArchiveSource) -> Task<Result<SourceReader, ArchiveError>, Never> {
        let queue = writer.queue
        return Task {
            do throws(ArchiveError) {
                return .success(try await SourceReader(source, on: queue))
            } catch {
                return .failure(error)
            }
        }
    }
}

/// Makes entries of the chunks that have been written.
private struct Assembly {
    private let items: [PackingPlan.Item]
    private let writer: ArchiveWriter
    private var builder = TableBuilder()
    private var summary = ArchiveWriter.Summary()
    private(set) var progress: ArchiveProgress
    private var chunks: [ArchiveTable.Chunk] = []
    /// Uncompressed bytes of the item that have been written.
    private var done: UInt64 = 0

    init(_ plan: PackingPlan, _ writer: ArchiveWriter) {
        items = plan.items
        self.writer = writer
        progress = ArchiveProgress(entryCount: plan.items.count, byteCount: plan.byteCount)
    }

    var isAtStart: Bool { chunks.isEmpty }

    /// The uncompressed size of the entry that the next chunk belongs to.
    var size: UInt64 {
        if case .source(let source) = items[progress.entries] { source.size } else { 0 }
    }

    mutating func add(_ chunk: ArchiveTable.Chunk, decodedCount: Int) {
        chunks.append(chunk)
        done += UInt64(decodedCount)
        progress.bytes += UInt64(decodedCount)
        summary.storedBytes += UInt64(chunk.count)
    }

    /// Goes on to the next item if this one is complete.
    mutating func finishItem() throws(ArchiveError) {
        switch items[progress.entries] {
        case .source(let source):
            guard done == source.size else { return }
            try builder.append(
                source.path, size: source.size, codec: writer.codec?.identifier.rawValue ?? 0,
                chunkSize: writer.chunkSize, chunks: chunks)
            summary.entries += 1
            summary.contentBytes += source.size
        case .deletion(let path):
            try builder.append(path, .deletion)
            summary.deletions += 1
        }
        chunks.removeAll(keepingCapacity: true)
        done = 0
        progress.entries += 1
    }

    func finish(_ output: ArchiveOutput, baseIdentity: UInt64?) async throws(ArchiveError) -> ArchiveWriter.Summary {
        let tableOffset = ArchiveFormat.aligned(output.position, to: ArchiveFormat.alignment)
        let builder = builder
        let (header, table) = try await writer.queue.work(on: output.path, "The archive's table cannot be made") {
            builder.finished(at: tableOffset, baseIdentity: baseIdentity)
        }
        let limits = ArchiveLimits()
        guard header.tableSize <= limits.tableBytes, header.entryCount <= limits.entries else {
            throw ArchiveError(.limitExceeded, file: output.path, "There is more than readers take by default")
        }
        try await output.finish(table: table, header: header.encoded())
        var summary = summary
        summary.fileSize = header.fileSize
        return summary
    }
}

public import Penstock
import PenstockCompression

extension StorageArchive {
    /// The bytes of entries, one after the other, read ahead of their use.
    ///
    /// ```swift
    /// for try await part in archive.contents() {
    ///     part.withUnsafeBytes { upload(part.entry.path, part.offset, $0) }
    ///     print("\(part.progress.bytes) of \(part.progress.byteCount) bytes")
    /// }
    /// ```
    ///
    /// An entry up to `size` comes in one part, a larger one in several; one without bytes in an empty part. Neighbours in the
    /// archive are read together.
    ///
    /// - Parameters:
    ///   - entries: Which, in the order in which they are to come; nil: all, in the order of their paths, which is also
    ///     that of the file.
    ///   - size: Uncompressed bytes that are read and decoded together, and so the most of a part; at least a chunk.
    ///   - readAhead: How many such there are in flight or waiting, at most.
    ///   - priority: How soon they matter; nil: the task's priority.
    ///   - deadline: When to give up, whatever has been handed out by then.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``, which ends the sequence with an error once it comes to a read
    ///     that was cancelled.
    public func contents(
        of entries: [ArchiveEntry]? = nil, size: Int = 1 << 20, readAhead: Int = 4, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0
    ) -> ArchiveContents {
        ArchiveContents(
            archive: self, entries: entries ?? Array(self.entries), size: max(1, size), readAhead: max(1, readAhead),
            priority: priority, deadline: deadline, tag: tag)
    }
}

/// The sequence that ``StorageArchive/contents(of:size:readAhead:priority:deadline:tag:)`` returns.
public struct ArchiveContents: AsyncSequence, Sendable {
    /// A part of an entry.
    public struct Element: Sendable {
        /// The entry.
        public let entry: ArchiveEntry
        /// Where the part begins in the entry, in bytes.
        public let offset: UInt64
        /// The part's bytes. It shares its memory with other parts.
        public let bytes: HostBuffer.Slice
        /// How far the sequence has come, with this part.
        public let progress: ArchiveProgress

        /// Whether the entry has no further parts.
        public var isLast: Bool { offset + UInt64(bytes.count) == entry.size }

        /// Calls `body` with the part's bytes.
        public func withUnsafeBytes<R: ~Copyable, E>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
            try bytes.withUnsafeBytes(body)
        }
    }

    /// Why a part could not be read.
    public typealias Failure = ArchiveError

    let archive: StorageArchive
    let entries: [ArchiveEntry]
    let size: Int
    let readAhead: Int
    let priority: StoragePriority?
    let deadline: ContinuousClock.Instant?
    let tag: UInt64

    /// Starts with the first entry.
    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    /// Reads ahead, and hands out the parts in order.
    public struct Iterator: AsyncIteratorProtocol {
        private let window: Window

        init(_ contents: ArchiveContents) { window = Window(contents) }

        /// The next part, or nil at the end.
        public mutating func next() async throws(ArchiveError) -> Element? { try await window.next() }

        /// The next part, or nil at the end.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(ArchiveError) -> Element? {
            try await window.next()
        }
    }

    /// The runs in flight, oldest first. Used by one task at a time; ends its reads when it goes.
    private final class Window {
        private let contents: ArchiveContents
        private var plan: ReadingPlan
        private var planned: ReadingPlan.Run?
        private var reads: [Task<Result<Arrived, ArchiveError>, Never>] = []
        private var current: Arrived?
        private var part = 0
        private var place = 0
        private var progress: ArchiveProgress
        private var isOver = false

        private struct Arrived: Sendable {
            let run: ReadingPlan.Run
            let buffer: HostBuffer
        }

        init(_ contents: ArchiveContents) {
            self.contents = contents
            plan = ReadingPlan(contents.entries, runSize: contents.size)
            progress = ArchiveProgress(
                entryCount: contents.entries.count, byteCount: contents.entries.sum(\.size))
        }

        deinit { reads.forEach { $0.cancel() } }

        func next() async throws(ArchiveError) -> Element? {
            while true {
                if let element = nextPart() { return element }
                guard !isOver else { return nil }
                try await fill()
                guard !reads.isEmpty else {
                    isOver = true
                    return nil
                }
                let read = reads.removeFirst()
                let result = await withTaskCancellationHandler {
                    await read.value
                } onCancel: {
                    read.cancel()
                }
                do throws(ArchiveError) {
                    current = try result.get()
                } catch {
                    await end()
                    throw error
                }
            }
        }

        private func nextPart() -> Element? {
            guard let current else { return nil }
            let part = current.run.parts[self.part]
            let bytes = current.buffer[place..<place + part.count]
            self.part += 1
            place += part.count
            progress.bytes += UInt64(part.count)
            if part.offset + UInt64(part.count) == part.entry.size { progress.entries += 1 }
            if self.part == current.run.parts.count {
                self.current = nil
                (self.part, place) = (0, 0)
            }
            return Element(entry: part.entry, offset: part.offset, bytes: bytes, progress: progress)
        }

        /// Starts as many reads as there may be. Memory is taken here and in order: runs further ahead must not hold what
        /// the next one waits for.
        private func fill() async throws(ArchiveError) {
            while reads.count < contents.readAhead, let run = planned ?? plan.nextRun() {
                planned = run
                let buffer: HostBuffer
                if reads.isEmpty {
                    buffer = try await run.parts[0].entry.layer.allocate(run.count)
                } else if let free = contents.archive.queue.core.allocateNow(run.count) {
                    buffer = free
                } else {
                    return
                }
                planned = nil
                start(run, into: buffer)
            }
        }

        private func start(_ run: ReadingPlan.Run, into buffer: HostBuffer) {
            let contents = contents
            reads.append(
                Task(priority: Task.currentPriority) {
                    do throws(ArchiveError) {
                        try await run.read(into: buffer, for: contents)
                        return .success(Arrived(run: run, buffer: buffer))
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

extension ReadingPlan.Run {
    /// Reads all of the run; its buffer has as many bytes.
    fileprivate func read(
        into buffer: HostBuffer, for contents: ArchiveContents
    ) async throws(ArchiveError) {
        var requests: [DecodingRequest] = []
        var entries: [ArchiveEntry] = []
        var place = 0
        for part in parts where part.count > 0 {
            let slice = buffer[place..<place + part.count]
            var request = try part.entry.layer.request(
                part.entry, part.chunks, into: .host(slice), priority: contents.priority)
            request.deadline = contents.deadline
            request.tag = contents.tag
            requests.append(request)
            entries.append(part.entry)
            place += part.count
        }
        for (result, entry) in zip(await contents.archive.queue.perform(requests), entries) {
            if case .failure(let error) = result { throw entry.layer.error(error, entry) }
        }
    }
}

import Penstock
import PenstockArchive
import PenstockVulkan
import SystemPackage

/// Streams an archive's entries through a queue: small ones by the batch, large ones in parts.
struct PackedStreamer: Sendable {
    let packed: PackedFolder
    /// The GPU memory that the entries go to; nil: they go to host memory.
    let ring: BufferRing?
    let tasks: Int
    let verifies: Bool
    let progress: Progress

    /// Entries up to this size travel in batches of this size.
    private static let batchSize = 1 << 20
    /// Of larger ones, so much at a time.
    private static let partSize = 4 << 20
    /// Where an entry of a batch may begin in GPU memory: what copies and decoders on GPUs like.
    private static let alignment = 16

    private enum Work: Sendable {
        case batch([ArchiveEntry])
        case large(ArchiveEntry)
    }

    /// Streams everything. Ends early, with what it has, when its task is cancelled.
    func stream() async -> Report {
        await withTaskGroup(of: [Outcome].self) { group in
            var report = Report()
            var running = 0
            for work in plan() {
                guard !Task.isCancelled else { break }
                if running == tasks, let outcomes = await group.next() {
                    outcomes.forEach { report.add($0) }
                    running -= 1
                }
                group.addTask { await outcomes(of: work) }
                running += 1
            }
            for await outcomes in group { outcomes.forEach { report.add($0) } }
            return report
        }
    }

    /// Neighbours in the archive are neighbours here, so that they are read together.
    private func plan() -> [Work] {
        var plan: [Work] = []
        var batch: [ArchiveEntry] = []
        var size = 0
        for entry in packed.archive.entries {
            guard entry.size <= UInt64(Self.batchSize) else {
                plan.append(.large(entry))
                continue
            }
            let room = Self.room(for: entry)
            if size + room > Self.batchSize {
                plan.append(.batch(batch))
                (batch, size) = ([], 0)
            }
            batch.append(entry)
            size += room
        }
        if !batch.isEmpty { plan.append(.batch(batch)) }
        return plan
    }

    private static func room(for entry: ArchiveEntry) -> Int {
        (Int(entry.size) + alignment - 1) / alignment * alignment
    }

    private func outcomes(of work: Work) async -> [Outcome] {
        do throws(StorageError) {
            switch work {
            case .batch(let entries): return try await stream(entries)
            case .large(let entry): return [await self.outcome(of: entry, try await stream(entry))]
            }
        } catch {
            return [error.code == .cancelled ? .stopped : .wrong(packed.path, "\(error)")]
        }
    }

    // MARK: To its destination

    /// The heart of it: many entries with one call, each into its place.
    private func stream(_ entries: [ArchiveEntry]) async throws(StorageError) -> [Outcome] {
        var places: [Range<Int>] = []
        var end = 0
        for entry in entries {
            places.append(end..<end + Int(entry.size))
            end += Self.room(for: entry)
        }
        var outcomes: [Outcome] = []
        try await withMemory(of: max(1, end)) { memory throws(StorageError) in
            let reads = zip(entries, places).map { entry, place in memory.read(entry, at: 0, into: place) }
            let results = await packed.archive.perform(reads)
            progress.add(bytes: end)
            let copy = verifies ? try await memory.contents(packed.archive.queue) : nil
            for ((entry, place), result) in zip(zip(entries, places), results) {
                var checksum = Checksum()
                if let copy { copy.withUnsafeBytes { checksum.update(UnsafeRawBufferPointer(rebasing: $0[place])) } }
                outcomes.append(await outcome(of: entry, result.map { _ in checksum }))
            }
        }
        return outcomes
    }

    /// An entry that is too large to be in memory at once.
    private func stream(_ entry: ArchiveEntry) async throws(StorageError) -> Result<Checksum, ArchiveError> {
        var checksum = Checksum()
        var position: UInt64 = 0
        var failure: ArchiveError?
        while position < entry.size, failure == nil {
            let count = Int(min(UInt64(Self.partSize), entry.size - position))
            try await withMemory(of: count) { memory throws(StorageError) in
                let read = memory.read(entry, at: position, into: 0..<count)
                if case .failure(let error) = await packed.archive.perform([read])[0] { return failure = error }
                progress.add(bytes: count)
                guard verifies else { return }
                try await memory.contents(packed.archive.queue).withUnsafeBytes { checksum.update($0) }
            }
            position += UInt64(count)
        }
        return failure.map { .failure($0) } ?? .success(checksum)
    }

    /// Memory for some bytes, on one side or the other.
    private enum Memory: Sendable {
        case host(HostBuffer)
        case gpu(GPUBuffer.Slice)

        func read(_ entry: ArchiveEntry, at offset: UInt64, into place: Range<Int>) -> ArchiveRead {
            switch self {
            case .host(let buffer): return ArchiveRead(entry, at: offset, into: buffer[place])
            case .gpu(let slice):
                let start = slice.range.lowerBound
                return ArchiveRead(
                    entry, at: offset, into: slice.buffer[start + place.lowerBound..<start + place.upperBound])
            }
        }

        /// What it holds; only the verification needs this.
        func contents(_ queue: StorageQueue) async throws(StorageError) -> HostBuffer {
            switch self {
            case .host(let buffer): return buffer
            case .gpu(let slice):
                let copy = try await queue.allocate(byteCount: slice.count)
                try await queue.write(slice, to: copy[...])
                return copy
            }
        }
    }

    private func withMemory(
        of count: Int, _ body: (Memory) async throws(StorageError) -> Void
    ) async throws(StorageError) {
        guard let ring else {
            return try await body(.host(try await packed.archive.queue.allocate(byteCount: count)))
        }
        try await ring.withSlice(of: count) { slice throws(StorageError) in try await body(.gpu(slice)) }
    }

    // MARK: Verification

    private func outcome(of entry: ArchiveEntry, _ streamed: Result<Checksum, ArchiveError>) async -> Outcome {
        progress.addFile()
        let path = packed.folder.appending(entry.path)
        let checksum: Checksum
        switch streamed {
        case .success(let value): checksum = value
        case .failure(let error):
            return Task.isCancelled ? .stopped : .wrong(path, "\(error)")
        }
        guard verifies else { return .streamed(bytes: Int(entry.size)) }
        do throws(PlainRead.Failure) {
            let plain = try await PlainRead.checksum(of: path)
            if plain == checksum { return .verified(bytes: checksum.byteCount) }
            // Its metadata tell whether it is still what was packed.
            guard let asset = Asset(path), asset == packed.assets[entry.path] else { return .changed(path) }
            return .wrong(path, "the archive delivered \(checksum), a plain read \(plain)")
        } catch {
            return error.isCancelled ? .stopped : .changed(path)
        }
    }
}

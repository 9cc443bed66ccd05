import Penstock
import PenstockCompression

/// Cuts entries into runs: what is read, decoded and handed out together. Small entries that are neighbours in the archive
/// share a run, and so one read; large ones are cut between chunks.
struct ReadingPlan {
    /// A part of an entry.
    struct Part: Sendable {
        var entry: ArchiveEntry
        var chunks: Range<Int>
        /// Where it begins in the entry.
        var offset: UInt64
        var count: Int
    }

    struct Run: Sendable {
        var parts: [Part] = []
        /// Uncompressed bytes of all parts.
        var count = 0
    }

    private let entries: [ArchiveEntry]
    private let runSize: Int
    private var next = 0
    /// The first chunk of the next entry that is in no run yet.
    private var nextChunk = 0

    /// A run of very small entries ends at so many, that the first need not wait long for the last.
    private static let mostParts = 1024

    init(_ entries: [ArchiveEntry], runSize: Int) {
        self.entries = entries
        self.runSize = runSize
    }

    mutating func nextRun() -> Run? {
        var run = Run()
        while next < entries.count, run.parts.count < Self.mostParts {
            let entry = entries[next]
            // At least one chunk, however small a run is to be.
            let room = entry.chunkSize == 0 ? 0 : (runSize - run.count) / entry.chunkSize
            let left = entry.chunkCount - nextChunk
            let offset = UInt64(nextChunk) * UInt64(entry.chunkSize)
            let fitsWhole = UInt64(max(0, runSize - run.count)) >= entry.size - offset
            guard run.parts.isEmpty || fitsWhole else { break }
            let chunks = nextChunk..<nextChunk + (fitsWhole ? left : min(left, max(1, room)))
            let end = min(UInt64(chunks.upperBound) * UInt64(entry.chunkSize), entry.size)
            run.parts.append(Part(entry: entry, chunks: chunks, offset: offset, count: Int(end - offset)))
            run.count += Int(end - offset)
            nextChunk = chunks.upperBound
            guard nextChunk == entry.chunkCount else { break }
            next += 1
            nextChunk = 0
        }
        return run.parts.isEmpty ? nil : run
    }
}

import Penstock

// Destinations that the host does not see are filled by way of staging memory.
extension DecodeBatch {
    /// Stretches of a device's memory that are filled at once, for each call: one is decoded while another is copied.
    private static let fillAhead = 3
    /// The bytes of such a stretch.
    private static let stretch = 1 << 20

    /// Decodes requests whose destination the host does not see.
    func fill(_ staged: [(request: Int, range: Range<Int>)]) async -> [Failure] {
        var stretches: [Stretch] = []
        for (index, range) in staged {
            guard case .device(let slice, _) = requests[index].place else { continue }
            // A request's stretches follow one another.
            let last = stretches.last.flatMap { $0.request == index ? $0.starts : nil }
            let starts = last ?? ChunkStarts(requests[index].chunks)
            guard slice.options == nil else {
                // Whoever waits for it, or has a say in where it is cut, gets it in one go.
                stretches.append(Stretch(request: index, slice: slice, start: 0, starts: starts))
                continue
            }
            var start = range.lowerBound
            while start < range.upperBound {
                let end = requests[index].end(ofStretchFrom: start, Self.stretch, before: range.upperBound, starts)
                stretches.append(Stretch(request: index, slice: slice.part(start..<end), start: start, starts: starts))
                start = end
            }
        }
        return await each(stretches.count, atOnce: Self.fillAhead) { [stretches] index in
            let stretch = stretches[index]
            if let failures = over.failures(unlessOver: [stretch.request]) { return failures }
            do throws(StorageError) {
                try await fill(stretch)
                return []
            } catch {
                return [(stretch.request, error)]
            }
        }
    }

    /// A part of a request's destination that is filled in one go.
    private struct Stretch {
        let request: Int
        let slice: SinkSlice
        /// Where it begins in the request's destination.
        let start: Int
        let starts: ChunkStarts
    }

    private func fill(_ stretch: Stretch) async throws(StorageError) {
        let (request, start) = (requests[stretch.request], stretch.start)
        let manner = manner(of: request)
        var options = request.options
        if !manner.followsTask { options.priority = manner.priority }
        var whole: WholeChunk?
        _ = try await queue.core.fill(stretch.slice, options) { memory, range throws(StorageError) in
            var parts: [DecodePart] = []
            // Staging memory is the host's own.
            request.parts(
                for: start + range.lowerBound..<start + range.upperBound, stretch.request, at: memory, .host,
                stretch.starts, into: &parts)
            // Only the first and the last can be wanted in part, and what the first is of may have been kept.
            if let first = parts.first, first.isWorthKeeping, try await copy(first, &whole, manner) {
                parts.removeFirst()
            }
            if let last = parts.last, last.isWorthKeeping, try await copy(last, &whole, manner) {
                parts.removeLast()
            }
            guard !parts.isEmpty else { return }
            if let failure = await decode(parts, manner).first { throw failure.error }
        }
    }

    /// A chunk that several pieces of staging memory have their part of, decoded once for all of them.
    private struct WholeChunk {
        let chunk: EncodedChunk
        let bytes: HostBuffer
    }

    /// Copies a part out of its whole chunk. False: there is no memory for that now, and it is to be decoded by itself. Not
    /// waited for: who holds staging memory must not wait for what others keep while they wait for staging memory.
    private func copy(
        _ part: DecodePart, _ whole: inout WholeChunk?, _ manner: Manner
    ) async throws(StorageError) -> Bool {
        if whole?.chunk != part.chunk {
            let count = part.chunk.decodedCount
            whole = nil
            guard let block = workers.wholeChunks.take(count) else { return false }
            let bytes = HostBuffer(block: block, count: count, arena: workers.wholeChunks)
            let all = DecodePart(
                request: part.request, chunk: part.chunk, wanted: 0..<count, destination: bytes.storage.block.address,
                reach: .host)
            if let failure = await decode([all], manner).first { throw failure.error }
            whole = WholeChunk(chunk: part.chunk, bytes: bytes)
        }
        guard let whole else { return false }
        try await workers.perform(
            1, priority: manner.followsTask ? nil : manner.priority, tag: manner.tag, deadline: manner.deadline
        ) { _ in
            let source = whole.bytes.storage.block.address + part.wanted.lowerBound
            part.destination.copyMemory(from: source, byteCount: part.wanted.count)
        }
        return true
    }
}

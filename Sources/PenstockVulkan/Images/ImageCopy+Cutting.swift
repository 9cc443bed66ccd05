import CVulkan

extension ImageCopy {
    /// How many bytes of the request the next piece has.
    ///
    /// Whole units, a unit being a row of blocks, or as much as the queue's granularity asks for. As many as fit into
    /// `limit`, over rows, slices, layers and parts, but
    /// - at least one, even if it is larger than the limit: see ``largestUnit``;
    /// - none that would begin at a place in the staging buffer where no region may begin; a piece is cut there, and the
    ///   next begins at a fresh staging offset.
    ///
    /// - Parameters:
    ///   - start: The piece's first byte: 0, or where the piece before it ended.
    ///   - limit: The most bytes that a piece should have.
    /// - Complexity: O(log *parts* + *regions in the piece*), without allocating.
    package func pieceLength(at start: Int, limit: Int) -> Int {
        precondition(start >= 0 && start < byteCount)
        let rest = byteCount - start
        // The last row needs no padding.
        let target = rest <= limit ? paddedByteCount : start + max(0, limit)
        var end = walk(from: start, to: target, lastRowMayLackPadding: false) { _, _, _, _ in }
        if end == start { end = parts[indexOfPart(at: start)].endOfUnit(at: start) }
        return min(end, byteCount) - start
    }

    /// Gives `body` the regions that copy bytes `start..<start + count` of the request.
    ///
    /// Few regions: for each part at most the rest of a slice, the whole slices after it, and the first rows of another.
    /// Each may go into one `vkCmdCopyBufferToImage2` or `vkCmdCopyImageToBuffer2` with all others of the request. Bytes
    /// of padding between rows and of gaps between parts are neither read nor written by the copies.
    ///
    /// - Parameters:
    ///   - start: The piece's first byte.
    ///   - count: Bytes that are there. Fewer than the piece has if the file ended early; then only what
    ///     ``wholeBytes(from:count:)`` counts is copied.
    ///   - stagingOffset: Where byte `start` lies in the buffer: a multiple of ``offsetAlignment``.
    /// - Complexity: O(log *parts* + *regions*), without allocating.
    package func regions(
        from start: Int, count: Int, stagingOffset: Int, _ body: (VkBufferImageCopy2) -> Void
    ) {
        precondition(stagingOffset >= 0 && stagingOffset % offsetAlignment == 0)
        _ = walk(from: start, to: end(from: start, count: count), lastRowMayLackPadding: true) {
            part, slices, rows, position in
            guard !part.isGap else { return }
            body(
                part.region(
                    slices: slices, rows: rows, block: block, bufferOffset: stagingOffset + (position - start)))
        }
    }

    /// How many of `count` bytes that came for the piece that begins at `start` are whole units, and are copied.
    ///
    /// All of them for a whole piece. A row whose blocks are all there but for its padding is whole. Units after the last
    /// whole slice may be left out, if no region may begin where they lie (only in formats and sizes in which a slice
    /// is not a multiple of ``offsetAlignment``).
    package func wholeBytes(from start: Int, count: Int) -> Int {
        let end = end(from: start, count: count)
        return min(walk(from: start, to: end, lastRowMayLackPadding: true) { _, _, _, _ in }, end) - start
    }

    private var paddedByteCount: Int { parts[parts.count - 1].end }

    private func end(from start: Int, count: Int) -> Int {
        precondition(start >= 0 && count >= 0 && count <= byteCount - start)
        return start + count
    }

    /// The part that byte `position` belongs to.
    private func indexOfPart(at position: Int) -> Int {
        var (low, high) = (0, parts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if parts[middle].start <= position { low = middle } else { high = middle }
        }
        return low
    }

    /// Goes from `start` on over what can be copied of the bytes before `end`, one region at a time.
    ///
    /// - Parameters:
    ///   - lastRowMayLackPadding: Whether a row counts whose blocks end before `end`, though its padding does not.
    ///   - body: Called with the part, the slices and rows in it, and their first byte in the request.
    /// - Returns: The byte after the last unit and its padding.
    @inline(__always)
    private func walk(
        from start: Int, to end: Int, lastRowMayLackPadding: Bool,
        _ body: (_ part: PlacedPart, _ slices: Range<Int>, _ rows: Range<Int>, _ position: Int) -> Void
    ) -> Int {
        var index = indexOfPart(at: start)
        var position = start
        while position < end {
            // Here a region begins; it may not begin anywhere.
            guard (position - start) % offsetAlignment == 0 else { break }
            let part = parts[index]
            let available = end - position + (lastRowMayLackPadding ? part.padding : 0)
            let slice = (position - part.start) / part.sliceBytes
            let row = (position - part.start) % part.sliceBytes / part.rowPitch
            if row == 0 {
                let slices = part.wholeSlices(available / part.sliceBytes, from: slice)
                if slices > 0 {
                    body(part, slice..<slice + slices, 0..<part.rows, position)
                    position += slices * part.sliceBytes
                    if position == part.end { index += 1 }
                    continue
                }
            }
            let rows = part.wholeRows(available / part.rowPitch, from: row)
            guard rows > 0 else { break }
            body(part, slice..<slice + 1, row..<row + rows, position)
            position += rows * part.rowPitch
            if row + rows < part.rows { break }
            if position == part.end { index += 1 }
        }
        return position
    }
}

import Synchronization

/// What a request's bytes are, for a sink that decodes them on their way: independent pages of one format.
package final class SinkDecoding: SinkLayout {
    /// One page.
    package struct Page: Sendable {
        /// Where its encoded bytes start among the request's.
        package var start: Int
        /// How many they are.
        package var count: Int
        /// Where it is decoded to, in bytes from where the request's destination starts.
        package var destination: Int
        /// How many bytes it is decoded to: exactly these, or it is malformed.
        package var decodedCount: Int

        package init(start: Int, count: Int, destination: Int, decodedCount: Int) {
            self.start = start
            self.count = count
            self.destination = destination
            self.decodedCount = decodedCount
        }
    }

    /// The most bytes that a page is decoded to.
    package static let pageSize = 1 << 16
    /// Encoded bytes of a page, at most: no encoder needs more, and a piece has to find room in staging memory.
    package static let mostEncodedBytes = 2 * pageSize
    /// Pages of a piece, at most: what one dispatch takes on any device.
    package static let mostPagesPerPiece = 64

    /// GDeflate pages; the raw value of the codec identifier `gdpg`, first letter lowest.
    package static let gdeflatePage: UInt32 = 0x6770_6467

    /// The codec's identifier.
    package let format: UInt32
    /// In the order of their starts, without sharing encoded bytes. There may be other bytes between them.
    package let pages: [Page]
    /// How many bytes the request reads.
    package let byteCount: Int
    /// The pages' bytes are known to be what an encoder made of as many bytes as each page says. A device may then decode
    /// them by means that do not notice if it is otherwise, and may do anything.
    package let isVerified: Bool
    /// Nanoseconds for which the device has been busy with the pages, as far as the sink can tell; what several requests
    /// share is divided among them by their bytes.
    package let deviceNanoseconds = Atomic<UInt64>(0)

    /// Nil if a page has no bytes, or does not lie within the request or behind the one before it, is larger than pages
    /// are, or would be decoded to something outside of the destination. Whether pages share destination bytes is not
    /// looked at: which of them wins is up to chance.
    ///
    /// - Parameters:
    ///   - format: The codec's identifier.
    ///   - pages: In the order of their starts.
    ///   - byteCount: The request's encoded bytes.
    ///   - destinationCount: Bytes of the destination.
    ///   - isVerified: Whether the pages are known to be sound once they have landed.
    package init?(
        format: UInt32, pages: [Page], byteCount: Int, destinationCount: Int, isVerified: Bool = false
    ) {
        var end = 0
        for page in pages {
            guard page.start >= end, page.start <= byteCount,
                page.count >= 1, page.count <= min(Self.mostEncodedBytes, byteCount - page.start),
                (0...destinationCount).contains(page.destination),
                (0...min(Self.pageSize, destinationCount - page.destination)).contains(page.decodedCount)
            else { return nil }
            end = page.start + page.count
        }
        self.format = format
        self.pages = pages
        self.byteCount = byteCount
        self.isVerified = isVerified
    }

    /// The first page that starts at the position or behind it.
    private func firstPage(from position: Int) -> Int {
        var (low, high) = (0, pages.count)
        while low < high {
            let middle = (low + high) / 2
            if pages[middle].start < position { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The pages of a piece.
    /// - Complexity: O(log *n*).
    package func pages(from start: Int, count: Int) -> ArraySlice<Page> {
        let first = firstPage(from: start)
        var last = firstPage(from: start + count)
        // One whose end is missing.
        while last > first, pages[last - 1].start + pages[last - 1].count > start + count { last -= 1 }
        return pages[first..<last]
    }

    /// Up to the start of a page, or the end. Bytes between two pages go with either.
    package func pieceLength(at start: Int, limit: Int) -> Int {
        let stop = min(start + max(1, limit), byteCount)
        let first = firstPage(from: start)
        for index in first..<min(first + Self.mostPagesPerPiece, pages.count) {
            let page = pages[index]
            guard page.start + page.count > stop else { continue }
            // It does not fit, so the piece ends ahead of it; a piece that begins with it is as long as it takes.
            return page.start > start ? min(stop, page.start) - start : page.count
        }
        let next = first + Self.mostPagesPerPiece
        return (next < pages.count ? min(stop, pages[next].start) : stop) - start
    }

    /// Whole pages, when the file has ended early.
    package func wholeBytes(from start: Int, count: Int) -> Int {
        guard let last = pages(from: start, count: count).last else { return 0 }
        return last.start + last.count - start
    }

    package var offsetAlignment: Int { 1 }
}

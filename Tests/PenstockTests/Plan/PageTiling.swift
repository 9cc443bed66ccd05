import TestSupport
import Testing

@testable import Penstock

/// Requests that hold pages are cut between them.
@Suite struct PageTiling {
    private struct Request {
        var pages: [SinkDecoding.Page] = []
        var byteCount = 0
        var destinationCount = 0

        init(_ random: inout SeededRandom) {
            let longest = [1, 500, 70_000, SinkDecoding.mostEncodedBytes][random.below(4)]
            for _ in 0..<random.below(300) {
                if random.chance(20) { byteCount += random.below(random.chance(10) ? 200_000 : 20) }
                let page = SinkDecoding.Page(
                    start: byteCount, count: 1 + random.below(longest), destination: destinationCount,
                    decodedCount: random.below(SinkDecoding.pageSize + 1))
                pages.append(page)
                byteCount += page.count
                destinationCount += page.decodedCount
            }
            byteCount += random.below(50)
        }

        var decoding: SinkDecoding? {
            SinkDecoding(format: 1, pages: pages, byteCount: byteCount, destinationCount: destinationCount)
        }
    }

    @Test func piecesHoldWholePages() throws {
        try forEachSeed("pages in pieces", count: 200) { random in
            let request = Request(&random)
            let decoding = try #require(request.decoding, "seed \(random.seed)")
            let limit = 1 << (8 + random.below(14))
            var start = 0
            var found = 0
            while start < request.byteCount {
                let length = decoding.pieceLength(at: start, limit: limit)
                try #require(length > 0 && length <= request.byteCount - start, "seed \(random.seed)")
                let pages = decoding.pages(from: start, count: length)
                #expect(length <= limit || (pages.count == 1 && pages.first!.start == start), "seed \(random.seed)")
                #expect(pages.count <= SinkDecoding.mostPagesPerPiece, "seed \(random.seed)")
                #expect(pages.startIndex == found || pages.isEmpty, "seed \(random.seed)")
                found += pages.count
                // The file has ended early.
                let came = random.below(length)
                let usable = decoding.wholeBytes(from: start, count: came)
                #expect(usable <= came)
                let whole = pages.filter { $0.start + $0.count <= start + came }
                #expect(decoding.pages(from: start, count: usable).count == whole.count, "seed \(random.seed)")
                start += length
            }
            #expect(found == request.pages.count, "seed \(random.seed)")
        }
    }

    @Test func pagesOutsideOfTheirRequestAreRefused() {
        func isRefused(_ pages: [SinkDecoding.Page]) -> Bool {
            SinkDecoding(format: 1, pages: pages, byteCount: 1000, destinationCount: 100_000) == nil
        }
        #expect(!isRefused([]))
        #expect(!isRefused([.init(start: 0, count: 1000, destination: 34_464, decodedCount: 65_536)]))
        let wrong: [SinkDecoding.Page] = [
            .init(start: 0, count: 0, destination: 0, decodedCount: 0),
            .init(start: 0, count: 1001, destination: 0, decodedCount: 0),
            .init(start: 1, count: 1000, destination: 0, decodedCount: 0),
            .init(start: -1, count: 10, destination: 0, decodedCount: 0),
            .init(start: 0, count: -1, destination: 0, decodedCount: 0),
            .init(start: .max, count: 1, destination: 0, decodedCount: 0),
            .init(start: 0, count: .max, destination: 0, decodedCount: 0),
            .init(start: 0, count: 1, destination: -1, decodedCount: 1),
            .init(start: 0, count: 1, destination: 100_000, decodedCount: 1),
            .init(start: 0, count: 1, destination: .max, decodedCount: 1),
            .init(start: 0, count: 1, destination: 0, decodedCount: 65_537),
            .init(start: 0, count: 1, destination: 0, decodedCount: -1),
        ]
        for page in wrong { #expect(isRefused([page]), "\(page)") }
        let first = SinkDecoding.Page(start: 10, count: 10, destination: 0, decodedCount: 1)
        for start in [0, 10, 19] {
            #expect(isRefused([first, .init(start: start, count: 5, destination: 5, decodedCount: 1)]))
        }
    }
}

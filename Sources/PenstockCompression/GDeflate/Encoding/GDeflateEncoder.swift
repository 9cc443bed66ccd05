/// Encodes pages of the GDeflate format. All its memory is allocated in the beginning; a page allocates nothing.
///
/// Nobody else has its tables and it cannot be copied, so only one thread can be using them: it may go from one to another.
struct GDeflateEncoder: ~Copyable, @unchecked Sendable {
    /// The most bytes that a page holds.
    static let pageSize = 65536
    /// The most bytes that a page takes, whatever it holds, and what the reference asks for too.
    ///
    /// No block takes more than it would stored, there are at most 64, and stored ones have 19 bits of header each; a lane
    /// may leave a word unused and another one incomplete: some 400 bytes at the most.
    static let pageBound = pageSize + 868

    private enum Parser {
        case none
        case fast(FastParser)
        case chains(ChainParser)
        case optimal(OptimalParser)
    }

    private let parser: Parser
    private let granularity: Int
    private let splitter = BlockSplitter()
    private let blockWriter = BlockWriter()
    private let window = UnsafeMutablePointer<UInt8>.allocate(capacity: pageSize + PageWindow.padding)
    private let sequences = UnsafeMutablePointer<LZSequence>.allocate(capacity: SequenceWriter.capacity)
    /// Where a page is written first, if there might not be room for it where it is to go.
    private let page = UnsafeMutableRawPointer.allocate(byteCount: pageBound, alignment: 8)

    /// - Parameter level: 0 (stored) to 12 (slowest and smallest); others count as the nearest of these.
    init(level: Int) {
        granularity = level < 8 ? 4096 : 2048
        switch level {
        case ...0: parser = .none
        case 1: parser = .fast(FastParser())
        case 2: parser = .chains(ChainParser(.init(depth: 4, niceLength: 16, lookahead: 0)))
        case 3: parser = .chains(ChainParser(.init(depth: 8, niceLength: 24, lookahead: 0)))
        case 4: parser = .chains(ChainParser(.init(depth: 8, niceLength: 24, lookahead: 1)))
        case 5: parser = .chains(ChainParser(.init(depth: 14, niceLength: 32, lookahead: 1)))
        case 6: parser = .chains(ChainParser(.init(depth: 28, niceLength: 64, lookahead: 1)))
        case 7: parser = .chains(ChainParser(.init(depth: 80, niceLength: 128, lookahead: 2)))
        default:
            let effort: OptimalParser.Effort =
                switch level {
                case 8:
                    .init(
                        usesTrees: false, depth: 16, niceLength: 64, shorterLengths: 1, passes: 1, granularity: 4096)
                case 9:
                    .init(usesTrees: true, depth: 16, niceLength: 64, shorterLengths: 1, passes: 1, granularity: 4096)
                case 10:
                    .init(usesTrees: true, depth: 24, niceLength: 96, shorterLengths: 1, passes: 2, granularity: 4096)
                case 11:
                    .init(usesTrees: true, depth: 48, niceLength: 160, shorterLengths: 4, passes: 2, granularity: 2048)
                default:
                    .init(
                        usesTrees: true, depth: 80, niceLength: 258, shorterLengths: 258, passes: 3, granularity: 2048)
                }
            parser = .optimal(OptimalParser(effort, splitter: splitter))
        }
    }

    deinit {
        window.deallocate()
        sequences.deallocate()
        page.deallocate()
    }

    /// Encodes one page.
    /// - Parameters:
    ///   - source: 1 to 65536 bytes.
    ///   - destination: Where the page goes; ``pageBound`` bytes always suffice.
    /// - Returns: The page's size in bytes, a multiple of 4; nil: it does not fit.
    mutating func encodePage(
        _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) -> Int? {
        precondition((1...Self.pageSize).contains(source.count), "a page has 1 to 65536 bytes")
        guard destination.count >= Self.pageBound, let base = destination.baseAddress else {
            let size = encode(source, to: page)
            guard size <= destination.count, let base = destination.baseAddress else { return nil }
            base.copyMemory(from: page, byteCount: size)
            return size
        }
        return encode(source, to: base)
    }

    private func encode(_ source: UnsafeRawBufferPointer, to destination: UnsafeMutableRawPointer) -> Int {
        UnsafeMutableRawPointer(window).copyMemory(from: source.baseAddress!, byteCount: source.count)
        (window + source.count).update(repeating: 0, count: PageWindow.padding)
        let window = PageWindow(bytes: window, count: source.count)
        var writer = blockWriter.page(at: destination)
        let count: Int
        switch parser {
        case .none:
            blockWriter.writeStored(window.bytes, count: window.count, isLast: true, to: &writer)
            return writer.finish()
        case .fast(let parser): count = parser.parse(window, into: sequences)
        case .chains(let parser): count = parser.parse(window, into: sequences)
        case .optimal(let parser): count = parser.parse(window, into: sequences)
        }
        let blockCount = splitter.split(sequences, count: count, source: window.bytes, granularity: granularity)
        for index in 0..<blockCount {
            blockWriter.write(
                splitter.blocks[index], sequences, source: window.bytes, isLast: index == blockCount - 1, to: &writer)
        }
        return writer.finish()
    }
}

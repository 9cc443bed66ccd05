import Glibc

/// Compares this project's GDeflate pages with the reference's: see `oracle-gdeflate`, which builds and runs it.
@main struct Comparison {
    static func main() {
        guard CommandLine.arguments.count > 1, let oracle = Oracle(CommandLine.arguments[1]) else {
            fail("the reference library cannot be loaded")
        }
        let seed = CommandLine.arguments.count > 2 ? UInt64(CommandLine.arguments[2]) ?? 0 : 1
        print("seed \(seed)")
        var pages = 0
        for level in 0...12 {
            // The same pages for each level.
            var random = Random(state: seed)
            var encoder = GDeflateEncoder(level: level)
            var ours = 0
            var theirs = 0
            for kind in Kind.allCases {
                for size in [1, 2, 123, 65535, 65536] + (0..<6).map({ _ in 1 + random.below(65536) }) {
                    let bytes = kind.bytes(size, &random)
                    let what = "level \(level), \(kind), \(size) bytes"
                    let page = encode(bytes, &encoder)
                    if oracle.decode(page, count: size) != bytes { fail("the reference cannot decode ours: \(what)") }
                    let reference = oracle.encode(bytes, level: level)
                    compareDecoder(page, reference, bytes, what)
                    ours += page.count
                    theirs += reference.count
                    pages += 1
                }
            }
            print("level \(level): \(ours) bytes, the reference \(theirs)")
            // All kinds together; single pages may well be larger.
            if ours > theirs + theirs / 50 { fail("level \(level) is more than 2 % larger than the reference") }
        }
        print("\(pages) pages are equal")
        var random = Random(state: seed)
        for level in [0, 1, 6, 9, 12] {
            // The slowest level takes seconds for a MiB.
            let longest = level == 12 ? 2 << 20 : 32 << 20
            for size in [0, 65537, min(4 << 20, longest), random.below(longest)] {
                compareStreams(Kind.allCases.randomElement(&random), size, level, oracle, &random)
            }
        }
    }

    /// Tile streams, whose pages each decodes of the other's.
    static func compareStreams(_ kind: Kind, _ size: Int, _ level: Int, _ oracle: Oracle, _ random: inout Random) {
        let bytes = kind.bytes(size, &random)
        let what = "a stream of \(size) bytes, level \(level), \(kind)"
        let codec = GDeflate(level: level)
        var ours = [UInt8](repeating: 0, count: codec.bound(of: size))
        do {
            var span = ours.mutableSpan
            var destination = span.mutableBytes
            let count = try codec.encode(bytes.span.bytes, into: &destination)
            ours.removeSubrange(count...)
            let stream = try GDeflate.TileStream(ours.span.bytes)
            var theirs: [[UInt8]] = []
            for tile in 0..<stream.tileCount {
                let part = Array(bytes[stream.destination(of: tile)])
                guard oracle.decode(Array(ours[stream.page(of: tile)]), count: part.count) == part else {
                    fail("the reference cannot decode tile \(tile) of ours: \(what)")
                }
                theirs.append(oracle.encode(part, level: level))
            }
            var head = [UInt8](repeating: 0, count: GDeflate.TileStream.headSize(of: size))
            head.withUnsafeMutableBytes { GDeflate.TileStream.writeHead(of: size, theirs.map(\.count), to: $0) }
            for encoded in [ours, head + theirs.flatMap { $0 }] {
                var decoded = [UInt8](repeating: 0xA5, count: size)
                var span = decoded.mutableSpan
                var destination = span.mutableBytes
                try codec.decode(encoded.span.bytes, into: &destination)
                if decoded != bytes { fail("other bytes: \(what)") }
            }
        } catch {
            fail("\(what): \(error)")
        }
        print("\(what): equal")
    }

    static func encode(_ bytes: [UInt8], _ encoder: inout GDeflateEncoder) -> [UInt8] {
        var page = [UInt8](repeating: 0, count: GDeflateEncoder.pageBound)
        let size = bytes.withUnsafeBytes { source in
            page.withUnsafeMutableBytes { encoder.encodePage(source, into: $0) }
        }
        guard let size, size % 4 == 0 else { fail("a page does not fit into the bound, or is not of whole words") }
        return Array(page[..<size])
    }

    /// Both pages through this project's decoder.
    static func compareDecoder(_ page: [UInt8], _ reference: [UInt8], _ bytes: [UInt8], _ what: String) {
        for (page, whose) in [(page, "ours"), (reference, "the reference's")] {
            var decoded = [UInt8](repeating: 0xA5, count: bytes.count)
            var span = decoded.mutableSpan
            var destination = span.mutableBytes
            do {
                try GDeflate(framing: .page).decode(page.span.bytes, into: &destination)
            } catch {
                fail("the decoder refuses \(whose): \(what): \(error)")
            }
            if decoded != bytes { fail("the decoder gives other bytes for \(whose): \(what)") }
        }
    }
}

func fail(_ message: String) -> Never {
    print("FAILED: \(message)")
    exit(1)
}

/// What the pages hold.
enum Kind: CaseIterable {
    case text, random, equal, periodic, sparse, floats, skewed, halves

    func bytes(_ count: Int, _ random: inout Random) -> [UInt8] {
        switch self {
        case .text:
            let words = (0..<300).map { _ in (0...random.below(9)).map { _ in UInt8(97 + random.below(26)) } + [32] }
            var bytes: [UInt8] = []
            while bytes.count < count { bytes += words[min(random.below(300), random.below(300))] }
            return Array(bytes[..<count])
        case .random: return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        case .equal: return Array(repeating: UInt8(random.below(256)), count: count)
        case .periodic:
            let period = Kind.random.bytes(1 + random.below(300), &random)
            return (0..<count).map { period[$0 % period.count] }
        case .sparse: return (0..<count).map { _ in random.below(50) == 0 ? UInt8(random.below(256)) : 0 }
        case .floats:
            var bytes: [UInt8] = []
            var value: Float = 1
            while bytes.count < count {
                value += Float(random.below(1000)) / 4096
                withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
            }
            return Array(bytes[..<count])
        case .skewed: return (0..<count).map { _ in UInt8((random.next() | 1 << 40).trailingZeroBitCount) }
        case .halves:
            let first = Kind.text.bytes(count / 2, &random)
            return first + Kind.random.bytes(count - first.count, &random)
        }
    }
}

extension Array {
    fileprivate func randomElement(_ random: inout Random) -> Element { self[random.below(count)] }
}

/// SplitMix64: the printed seed repeats a run.
struct Random {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// The reference's C functions, for single pages.
struct Oracle {
    /// A page, as the functions take it.
    private struct Page {
        var data: UnsafeMutableRawPointer?
        var size: Int
    }

    private typealias AllocateCompressor = @convention(c) (Int32) -> OpaquePointer?
    private typealias AllocateDecompressor = @convention(c) () -> OpaquePointer?
    private typealias Free = @convention(c) (OpaquePointer?) -> Void
    private typealias Compress =
        @convention(c) (OpaquePointer?, UnsafeRawPointer?, Int, UnsafeMutableRawPointer?, Int) -> Int
    private typealias Decompress =
        @convention(c) (
            OpaquePointer?, UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer?, Int, UnsafeMutablePointer<Int>?
        ) -> Int32

    private let allocateCompressor: AllocateCompressor
    private let freeCompressor: Free
    private let compress: Compress
    private let decompress: Decompress
    private let decompressor: OpaquePointer?

    init?(_ path: String) {
        guard let library = dlopen(path, RTLD_NOW) else { return nil }
        func function<Function>(_ name: String, _: Function.Type) -> Function? {
            dlsym(library, "libdeflate_" + name).map { unsafeBitCast($0, to: Function.self) }
        }
        guard let allocateCompressor = function("alloc_gdeflate_compressor", AllocateCompressor.self),
            let freeCompressor = function("free_gdeflate_compressor", Free.self),
            let compress = function("gdeflate_compress", Compress.self),
            let decompress = function("gdeflate_decompress", Decompress.self),
            let allocateDecompressor = function("alloc_gdeflate_decompressor", AllocateDecompressor.self)
        else { return nil }
        self.allocateCompressor = allocateCompressor
        self.freeCompressor = freeCompressor
        self.compress = compress
        self.decompress = decompress
        decompressor = allocateDecompressor()
    }

    func encode(_ bytes: [UInt8], level: Int) -> [UInt8] {
        let compressor = allocateCompressor(Int32(level))
        defer { freeCompressor(compressor) }
        var encoded = [UInt8](repeating: 0, count: GDeflateEncoder.pageBound)
        let size = encoded.withUnsafeMutableBytes { encoded in
            var page = Page(data: encoded.baseAddress, size: encoded.count)
            return bytes.withUnsafeBytes { compress(compressor, $0.baseAddress, $0.count, &page, 1) }
        }
        return Array(encoded[..<size])
    }

    /// The page's bytes; nil if it is refused.
    func decode(_ page: [UInt8], count: Int) -> [UInt8]? {
        var page = page
        var bytes = [UInt8](repeating: 0, count: count)
        var size = 0
        let result = page.withUnsafeMutableBytes { encoded in
            var page = Page(data: encoded.baseAddress, size: encoded.count)
            return bytes.withUnsafeMutableBytes { decompress(decompressor, &page, 1, $0.baseAddress, count, &size) }
        }
        return result == 0 && size == count ? bytes : nil
    }
}

import ArgumentParser
import PenstockCompression

/// A codec as the command line names it.
enum CodecChoice: String, CaseIterable, ExpressibleByArgument {
    case gdeflate, zstd, lz4, deflate, none

    /// The levels that there are, and the one that is taken if none is given.
    var levels: (range: ClosedRange<Int>, usual: Int)? {
        switch self {
        case .gdeflate: (0...12, 6)
        case .zstd: (-7...22, 9)
        case .lz4: (1...12, 9)
        case .deflate: (0...12, 6)
        case .none: nil
        }
    }

    func codec(level: Int?) throws -> (any Codec)? {
        guard let levels else {
            guard level == nil else { throw ValidationError("--codec none has no levels") }
            return nil
        }
        let level = level ?? levels.usual
        guard levels.range.contains(level) else {
            throw ValidationError(
                "--level of \(rawValue) is between \(levels.range.lowerBound) and \(levels.range.upperBound)")
        }
        // Of GDeflate a chunk is a single page, which is what GPUs decode.
        switch self {
        case .gdeflate: return GDeflate(level: level, framing: .page)
        case .zstd: return Zstd(level: level)
        case .lz4: return LZ4(level: level)
        case .deflate: return Deflate(level: level)
        case .none: return nil
        }
    }
}

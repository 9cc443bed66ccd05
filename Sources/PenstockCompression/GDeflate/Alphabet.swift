/// DEFLATE64's symbols, which GDeflate has taken over: literals, the block's end and lengths; distances; and the lengths
/// of the codes of both.
enum Alphabet {
    /// Of literals and lengths, with two that the format knows and gives no meaning.
    static let symbolCount = 288
    static let endOfBlock = 256
    static let firstLength = 257
    /// Those that mean something: 0 to 285.
    static let usedSymbolCount = 286
    static let distanceCount = 32
    static let longestCode = 15

    static let codeLengthCount = 19
    static let longestCodeLengthCode = 7
    /// Above 15, the symbols are of runs: of 3 to 6 like the one before, of 3 to 10 zeros, of 11 to 138 zeros.
    static let repeatPrevious: UInt8 = 16
    static let fewZeros: UInt8 = 17
    static let manyZeros: UInt8 = 18
    /// The order in which the code lengths' own lengths come, so that the rare ones at the end can be left out.
    static let codeLengthOrder: [UInt8] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

    /// How long the code of a literal or length is in a fixed block.
    static func fixedCodeLength(_ symbol: Int) -> UInt8 {
        switch symbol {
        case ..<144: 8
        case ..<256: 9
        case ..<280: 7
        default: 8
        }
    }
    /// The same of every distance.
    static let fixedDistanceCodeLength: UInt8 = 5
}

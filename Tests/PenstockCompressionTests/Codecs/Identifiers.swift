import PenstockCompression
import Testing

@Suite struct Identifiers {
    @Test func fourCharactersStandInReadingOrderInALittleEndianFile() {
        let identifier: CodecIdentifier = "gdfl"
        #expect(identifier.rawValue == 0x6C66_6467)
        #expect(withUnsafeBytes(of: identifier.rawValue.littleEndian, Array.init) == Array("gdfl".utf8))
        #expect("\(identifier)" == "gdfl")
    }

    @Test(arguments: ["", "abc", "abcde", "ab\u{e9}", "ab\tc", "ab\0c"])
    func anythingElseNamesNoCodec(_ text: String) { #expect(CodecIdentifier(text) == nil) }

    @Test func aNumberThatIsNoTextIsPrintedAsOne() { #expect("\(CodecIdentifier(rawValue: 0x1020))" == "0x1020") }

    @Test func bothFramingsHaveNamesOfTheirOwn() {
        #expect(GDeflate().identifier == "gdfl")
        #expect(GDeflate(framing: .page).identifier == "gdpg")
    }

    @Test func anErrorSaysWhatIsWrongAndWhere() {
        let error = CodecError(.truncated, offset: 12, "The page ends within a block")
        #expect("\(error)" == "The page ends within a block at compressed byte 12 [truncated]")
    }
}

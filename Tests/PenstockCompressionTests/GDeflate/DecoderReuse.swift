import TestSupport
import Testing

@testable import PenstockCompression

@Suite struct DecoderReuse {
    @Test func aDecoderStartsAfreshAfterAPageThatFailed() throws {
        var random = seededOnce("decoder reuse")
        let bytes = Sample.text.bytes(20_000, &random)
        let page = try GDeflate(level: 6, framing: .page).encoded(bytes)
        let output = GuardedBytes(count: bytes.count, against: .back)
        var decoder = try PageDecoder()
        // It stops at places all over the page, with symbols decoded and not yet written.
        for length in stride(from: 0, to: page.count, by: 97) {
            let cut = GuardedBytes(page.prefix(length), against: .back)
            do throws(CodecError) {
                try decoder.decode(UnsafeRawBufferPointer(cut.bytes), into: output.bytes)
                Issue.record("decoded \(length) bytes of \(page.count), seed \(random.seed)")
            } catch { #expect(error.code == .truncated) }
            let whole = GuardedBytes(page, against: .back)
            try decoder.decode(UnsafeRawBufferPointer(whole.bytes), into: output.bytes)
            #expect(Array(output.bytes) == bytes, "after \(length) bytes, seed \(random.seed)")
        }
    }
}

import TestSupport
import Testing

@testable import PenstockCompression

/// Codecs keep what they work with, no more than they may, and are none the worse for it.
@Suite struct Contexts {
    @Test func noMoreAreKeptThanMayBe() throws {
        let (made, freed) = (Shared(0), Shared<[Int]>([]))
        let store = ContextStore<Int>(
            mostKept: 2,
            make: {
                made.change { $0 += 1 }
                return made.now
            },
            free: { context in freed.change { $0.append(context) } })
        /// So many calls at once, one within the other.
        func nest(_ depth: Int) throws(CodecError) {
            guard depth > 0 else { return }
            try store.withContext { _ throws(CodecError) in try nest(depth - 1) }
        }
        try nest(5)
        #expect(made.now == 5 && freed.now == [3, 2, 1])
        try nest(2)
        #expect(made.now == 5 && freed.now == [3, 2, 1], "those that were kept are used again")
    }

    @Test func whatIsKeptIsFreedInTheEnd() throws {
        let freed = Shared<[Int]>([])
        do {
            let store = ContextStore<Int>(make: { 7 }, free: { context in freed.change { $0.append(context) } })
            try store.withContext { _ throws(CodecError) in #expect(freed.now == []) }
        }
        #expect(freed.now == [7])
    }

    @Test func aContextIsKeptWhenTheCallFails() throws {
        let made = Shared(0)
        let store = ContextStore<Int>(
            make: {
                made.change { $0 += 1 }
                return made.now
            }, free: { _ in })
        for _ in 0..<3 {
            do throws(CodecError) {
                try store.withContext { _ throws(CodecError) in throw CodecError(.malformed, "on purpose") }
            } catch { #expect(error.code == .malformed) }
        }
        #expect(made.now == 1)
    }

    @Test(arguments: [0, 1, 4, 7, 8, 12])
    func aCodecThatHasBeenUsedEncodesAsANewOne(_ level: Int) throws {
        var random = seededOnce("used encoder, level \(level)")
        let used = GDeflate(level: level, framing: .page)
        for sample in Sample.allCases {
            let bytes = sample.bytes(1 + random.below(10_000), &random)
            let page = try used.encoded(bytes)
            #expect(try page == GDeflate(level: level, framing: .page).encoded(bytes), "\(sample), seed \(random.seed)")
        }
    }
}

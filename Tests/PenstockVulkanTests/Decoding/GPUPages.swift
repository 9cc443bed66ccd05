import PenstockCompression
import TestSupport
import Testing

extension DevicesInTurn {
    /// The shader and the decoder on the CPU are of one mind on every page.
    @Suite(.timeLimit(.minutes(5))) struct GPUPages {
        /// Decodes on both sides, and compares. Good pages stand between those given, and must come out unharmed.
        private func compare(_ pages: [EncodedPage], _ rig: ShaderRig, _ text: String) throws {
            let good = try EncodedPage(Sample.good, level: 6)
            var mixed: [EncodedPage] = []
            for (index, page) in pages.enumerated() {
                if index % 16 == 0 { mixed.append(good) }
                mixed.append(page)
            }
            mixed.append(good)
            let decoded = try rig.decode(mixed)
            var index = 0
            for (place, page) in mixed.enumerated() {
                if page.bytes == good.bytes, page.count == good.count {
                    #expect(decoded[place] == Sample.good, "\(text): a good page beside others")
                    continue
                }
                let expected = page.decodedOnCPU
                #expect(decoded[place] == expected, "\(text): page \(index), CPU accepts: \(expected != nil)")
                index += 1
            }
        }

        @Test func encodedPagesComeBack() async throws {
            var random = seededOnce("GPU pages")
            var pages: [EncodedPage] = []
            for sample in Sample.allCases {
                for level in 0...12 {
                    for size in [1, 2, 3, 31, 123] {
                        pages.append(try EncodedPage(sample.bytes(size, &random), level: level))
                    }
                }
                for (level, size) in [(0, 65_536), (1, 65_535), (6, 65_536), (9, 20_000), (12, 10_000)] {
                    pages.append(try EncodedPage(sample.bytes(size, &random), level: level))
                }
            }
            pages.append(EncodedPage(bytes: [], count: 0))
            try await withShader { rig in try compare(pages, rig, "seed \(random.seed)") }
        }

        @Test func everyTruncationIsRefused() async throws {
            var random = seededOnce("truncated GPU pages")
            var pages: [EncodedPage] = []
            for level in [0, 1, 6] {
                let page = try EncodedPage(
                    Sample.text.bytes(300, &random) + Sample.noise.bytes(20, &random), level: level)
                for length in 0..<page.bytes.count {
                    pages.append(EncodedPage(bytes: Array(page.bytes.prefix(length)), count: page.count))
                }
            }
            try await withShader { rig in
                let decoded = try rig.decode(pages)
                #expect(decoded.allSatisfy { $0 == nil })
            }
        }

        @Test(arguments: [0, 1, 6])
        func everyFlippedBitHasTheSameVerdict(_ level: Int) async throws {
            var random = seededOnce("GPU pages with a flipped bit")
            let page = try EncodedPage(
                Sample.text.bytes(level == 0 ? 40 : 220, &random) + Sample.noise.bytes(10, &random), level: level)
            let pages = (0..<(8 * page.bytes.count)).map { bit in
                var damaged = page
                damaged.bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                return damaged
            }
            try await withShader { rig in try compare(pages, rig, "level \(level), seed \(random.seed)") }
        }

        @Test func noiseHasTheSameVerdict() async throws {
            var pages: [EncodedPage] = []
            forEachSeed("noise for the shader", count: 400) { random in
                var bytes = Sample.noise.bytes(random.below(3000), &random)
                // As a dynamic block more often than not.
                if !bytes.isEmpty, random.chance(70) { bytes[0] = bytes[0] & ~7 | 5 }
                pages.append(EncodedPage(bytes: bytes, count: random.below(65_537)))
            }
            try await withShader { rig in try compare(pages, rig, "noise") }
        }

        @Test func damagedPagesHaveTheSameVerdict() async throws {
            var random = seededOnce("damaged GPU pages")
            let whole = try Sample.allCases.flatMap { sample in
                try [1, 6].map { try EncodedPage(sample.bytes(4000, &random), level: $0) }
            }
            let pages = (0..<400).map { _ in
                var page = whole[random.below(whole.count)]
                for _ in 0...random.below(4) {
                    page.bytes[random.below(page.bytes.count)] = UInt8(random.below(256))
                }
                if random.chance(20) { page.count = random.below(5000) }
                return page
            }
            try await withShader { rig in try compare(pages, rig, "seed \(random.seed)") }
        }
    }
}

extension Sample {
    /// What a page beside damaged ones holds.
    fileprivate static let good: [UInt8] = (0..<1000).map { UInt8(truncatingIfNeeded: $0 / 7 &* 31) }
}

import TestSupport
import Testing

extension DevicesInTurn {
    /// Pages that no encoder writes, right and wrong, get the verdict of the decoder on the CPU.
    @Suite(.timeLimit(.minutes(5))) struct WrittenGPUPages {
        private func fixed(_ body: (inout PageScript) -> Void) -> [UInt8] {
            var script = PageScript()
            script.begin(.fixed)
            body(&script)
            script.endFixed()
            return script.page
        }

        /// Blocks' ends with matches to finish, in lanes before and behind; and matches that follow from one another.
        private var chains: [EncodedPage] {
            (1...70).flatMap { count in
                [1, 2, 3, 31, 40].map { distance in
                    let page = fixed { script in
                        for index in 0..<40 { script.fixed(65 + index % 26) }
                        for _ in 0..<count {
                            // Of 1, 2, 3, 5 or 6 bits.
                            let (symbol, extra, bits): (Int, UInt64, Int) =
                                switch distance {
                                case 1...3: (distance - 1, 0, 0)
                                case 31: (9, 6, 3)
                                default: (10, 7, 4)
                                }
                            script.fixed(length: 257 + count % 8, distance: symbol, distanceExtra: extra, bits)
                        }
                    }
                    return EncodedPage(bytes: page, count: 40 + count * (3 + count % 8))
                }
            }
        }

        private var wrong: [EncodedPage] {
            var pages: [EncodedPage] = []
            for count in [0, 1, 4, 6, 100] { pages.append(.init(bytes: fixed { $0.fixed("abcde") }, count: count)) }
            for symbol in [286, 287] { pages.append(.init(bytes: fixed { $0.fixed(symbol) }, count: 3)) }
            let tooFar = fixed {
                $0.fixed("ab")
                $0.fixed(length: 257, distance: 2)
            }
            pages.append(.init(bytes: tooFar, count: 5))
            let tooLong = fixed {
                $0.fixed("ab")
                $0.fixed(length: 285, extra: 0xFFFF, 16, distance: 0)
            }
            for count in [3, 65_536] { pages.append(.init(bytes: tooLong, count: count)) }
            for more in 1...4 {
                let bytes = fixed { $0.fixed("abcde") } + [UInt8](repeating: 0, count: more)
                pages.append(.init(bytes: bytes, count: 5))
            }
            for symbol in [30, 31] {
                for literals in [10, 32_769, 49_153, 65_000] {
                    var script = PageScript()
                    script.stored([UInt8](repeating: 7, count: literals), isFinal: false)
                    script.begin(.fixed)
                    script.fixed(length: 257, distance: symbol, distanceExtra: 0, 14)
                    script.endFixed()
                    pages.append(.init(bytes: script.page, count: literals + 3))
                }
            }
            var reserved = PageScript()
            reserved.begin(.reserved)
            pages.append(.init(bytes: reserved.page, count: 1))
            var stored = PageScript()
            stored.stored([1, 2, 3])
            for count in [2, 3, 4] { pages.append(.init(bytes: stored.page, count: count)) }
            return pages + tables
        }

        /// The code lengths' code, then codes in it.
        private var tables: [EncodedPage] {
            let cases: [([UInt64], [(bits: UInt64, count: Int)])] = [
                ([1, 1, 1, 1], []),
                ([2, 2, 0, 0], []),
                ([1, 0, 0, 1], [(1, 3)]),
                ([0, 0, 1, 1], [(1 | 127 << 1, 8), (1 | 127 << 1, 8), (1 | 127 << 1, 8)]),
                ([0, 0, 1, 1], [(1 | 127 << 1, 8), (1 | 109 << 1, 8)]),
                ([0, 0, 0, 1], [(1, 1)]),
                // One literal, the block's end, and no distance at all.
                (
                    [0, 0, 1, 2] + [UInt64](repeating: 0, count: 13) + [2],
                    [(86 << 1, 8), (0b11, 2), (127 << 1, 8), (9 << 1, 8), (0b11, 2), (0b01, 2)]
                ),
            ]
            return cases.map { lengths, codes in
                var script = PageScript()
                script.dynamic(symbols: 257, distances: 1, codeLengths: lengths, codes: codes)
                for _ in 0..<400 { script.step(0, 1) }
                script.end(1, 1)
                return EncodedPage(bytes: script.page, count: 400)
            }
        }

        @Test func theVerdictIsTheCPUs() async throws {
            let pages = chains + wrong
            try await withShader { rig in
                let decoded = try rig.decode(pages)
                var accepted = 0
                for (index, page) in pages.enumerated() {
                    let expected = page.decodedOnCPU
                    #expect(decoded[index] == expected, "page \(index), CPU accepts: \(expected != nil)")
                    accepted += expected == nil ? 0 : 1
                }
                #expect(accepted >= chains.count)
            }
        }

        /// What llvmpipe cannot do, see the shader: it says so, and nothing comes out wrong.
        @Test func aPageOfTooManyBlocksIsGivenUp() async throws {
            let counts = [100] + Array(stride(from: 150, to: 900, by: 50)) + [1500]
            let pages = counts.map { blocks in
                var script = PageScript()
                for _ in 0..<blocks {
                    script.begin(.fixed, isFinal: false)
                    script.fixed("abc")
                    script.endFixed()
                }
                script.stored([])
                return EncodedPage(bytes: script.page, count: 3 * blocks)
            }
            try await withShader { rig in
                let decoded = try rig.decode(pages)
                #expect(decoded[0] != nil && decoded.last! == nil)
                for (index, page) in pages.enumerated() where decoded[index] != nil {
                    #expect(decoded[index] == page.decodedOnCPU, "\(counts[index]) blocks")
                }
                #expect(rig.unfinished == decoded.count { $0 == nil })
            }
        }

        /// As many matches as a page can hold, each of which waits for the one before it, or for none.
        @Test(arguments: [3, 96])
        func aPageOfNothingButShortMatches(_ distance: Int) async throws {
            let head = (0..<distance).map { UInt8($0) }
            var script = PageScript()
            script.stored(head, isFinal: false)
            script.begin(.fixed)
            var count = distance
            while count + 3 <= 65_536 {
                if distance == 3 {
                    script.fixed(length: 257, distance: 2)
                } else {
                    // 65...96 and of these the last.
                    script.fixed(length: 257, distance: 12, distanceExtra: 31, 5)
                }
                count += 3
            }
            script.endFixed()
            let page = EncodedPage(bytes: script.page, count: count)
            try await withShader { rig in
                let decoded = try rig.decode([page])
                #expect(decoded[0] != nil && decoded[0] == page.decodedOnCPU)
                #expect(rig.unfinished == 0)
            }
        }

        @Test func manyBlocksOfEveryKind() async throws {
            var random = seededOnce("blocks for the shader")
            let pages = (0..<60).map { _ in
                var script = PageScript()
                var count = 0
                for _ in 0..<random.below(40) {
                    if random.chance(50) {
                        let bytes = Sample.noise.bytes(random.below(200), &random)
                        script.stored(bytes, isFinal: false)
                        count += bytes.count
                    } else {
                        script.begin(.fixed, isFinal: false)
                        for _ in 0..<random.below(100) {
                            if count > 4, random.chance(50) {
                                let length = random.below(8)
                                script.fixed(length: 257 + length, distance: random.below(4))
                                count += 3 + length
                            } else {
                                script.fixed(random.below(256))
                                count += 1
                            }
                        }
                        script.endFixed()
                    }
                }
                script.stored([])
                return EncodedPage(bytes: script.page, count: count)
            }
            try await withShader { rig in
                let decoded = try rig.decode(pages)
                for (index, page) in pages.enumerated() {
                    let expected = page.decodedOnCPU
                    #expect(expected != nil)
                    #expect(decoded[index] == expected, "page \(index), seed \(random.seed)")
                }
            }
        }
    }
}

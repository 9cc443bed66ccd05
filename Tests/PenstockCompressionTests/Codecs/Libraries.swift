import PenstockCompression
import TestSupport
import Testing

/// The codecs on others' libraries keep the promises of ``Codec`` as our own do.
@Suite struct Libraries {
    /// Each of them at its ends.
    static let codecs: [any Codec] = [
        Zstd(level: -7), Zstd(), Zstd(level: 19), LZ4(), LZ4(level: 12), Deflate(level: 0), Deflate(),
        Deflate(level: 12),
        Deflate(framing: .zlib), Deflate(framing: .gzip),
    ]

    @Test(arguments: codecs.indices, Sample.allCases)
    func aChunkComesBack(_ index: Int, _ sample: Sample) throws {
        let codec = Self.codecs[index]
        var random = seededOnce("\(codec.identifier) of \(sample)")
        for (round, count) in [0, 1, 2, 123, 65_535, 65_536, 65_537, 300_000].enumerated() {
            let bytes = sample.bytes(count, &random)
            let side = GuardedBytes.Side.allCases[round % 2]
            let chunk = try codec.encoded(bytes, side: side)
            #expect(chunk.count <= codec.bound(of: count))
            #expect(try codec.decoded(chunk, count: count, side: side) == bytes, "\(count), seed \(random.seed)")
            // Exactly the size, or an error.
            for other in [count - 1, count + 1, 2 * count + 77] where other >= 0 {
                let failure = codec.failure(chunk, count: other, side: side)
                #expect(failure?.code == .sizeMismatch || failure?.code == .malformed, "\(failure as Any)")
            }
        }
    }

    @Test(arguments: codecs.indices)
    func whatDoesNotFitIsNotWritten(_ index: Int) throws {
        let codec = Self.codecs[index]
        var random = seededOnce("\(codec.identifier), too small")
        let bytes = Sample.noise.bytes(5000, &random)
        let size = try codec.encoded(bytes).count
        for room in [0, 1, 100, size - 1] {
            do throws(CodecError) {
                // LZ4's and zstd's compressors may want more room than they use, but never write past it.
                let chunk = try codec.encoded(bytes, room: room, side: .back)
                Issue.record("\(chunk.count) bytes fitted into \(room)")
            } catch {
                #expect(error.code == .destinationTooSmall, "\(error)")
            }
        }
    }

    @Test(arguments: codecs.indices)
    func everyTruncationIsAnError(_ index: Int) throws {
        let codec = Self.codecs[index]
        var random = seededOnce("\(codec.identifier), truncated")
        let bytes = Sample.text.bytes(2000, &random)
        let chunk = try codec.encoded(bytes)
        for count in 0..<chunk.count {
            let failure = codec.failure(Array(chunk.prefix(count)), count: bytes.count)
            #expect(failure.map { [.malformed, .truncated, .sizeMismatch].contains($0.code) } == true, "\(count)")
        }
        #expect(codec.failure(chunk + [0], count: bytes.count) != nil, "a byte behind it")
    }

    /// Flips of the bytes themselves cannot all be noticed; whatever comes out has the declared size.
    @Test(arguments: codecs.indices)
    func everyFlippedBitIsAnErrorOrTheSize(_ index: Int) throws {
        let codec = Self.codecs[index]
        var random = seededOnce("\(codec.identifier), flipped")
        let bytes = Sample.text.bytes(600, &random)
        let chunk = try codec.encoded(bytes)
        var (decoded, failed) = (0, 0)
        for bit in 0..<8 * chunk.count {
            var flipped = chunk
            flipped[bit / 8] ^= 1 << (bit % 8)
            do throws(CodecError) {
                let count = try codec.decoded(flipped, count: bytes.count, side: .allCases[bit % 2]).count
                #expect(count == bytes.count)
                decoded += 1
            } catch {
                failed += 1
            }
        }
        #expect(failed > 0 && decoded + failed == 8 * chunk.count)
    }

    @Test func randomBytesAreNoChunk() {
        forEachSeed("no chunk", count: 200) { random in
            let bytes = Sample.noise.bytes(1 + random.below(300), &random)
            for codec in Self.codecs {
                // What it is, whatever that may be, has the declared size.
                let count = random.below(5000)
                if let decoded = try? codec.decoded(bytes, count: count) { #expect(decoded.count == count) }
            }
        }
    }

    /// Frames from before the standard have their own magic numbers, and decoders that nobody has looked at for years.
    @Test(arguments: 0x1E...0x27 as ClosedRange<UInt8>)
    func legacyFramesAreRefused(_ version: UInt8) throws {
        let bytes = try Zstd().encoded([UInt8](repeating: 7, count: 1000))
        #expect(Zstd().failure([version, 0xB5, 0x2F, 0xFD] + bytes.dropFirst(4), count: 1000)?.code == .malformed)
        // Nor behind a frame of today's.
        #expect(Zstd().failure(bytes + [version, 0xB5, 0x2F, 0xFD] + bytes.dropFirst(4), count: 2000) != nil)
    }

    @Test func manyTasksShareACodec() async throws {
        let ours: [any Codec] = [GDeflate(level: 1), GDeflate(level: 2, framing: .page)]
        for codec in Self.codecs + ours {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<8 {
                    group.addTask {
                        var random = SeededRandom(UInt64(task))
                        for _ in 0..<5 {
                            let bytes = Sample.records.bytes(random.below(20_000), &random)
                            let decoded = try codec.decoded(codec.encoded(bytes), count: bytes.count)
                            #expect(decoded == bytes)
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func codecsAreNamedApart() {
        let names = Set(Self.codecs.map(\.identifier))
        #expect(names == ["zstd", "lz4b", "defl", "zlib", "gzip"])
    }
}

import Penstock
import PenstockCompression
import PenstockVulkan
import Synchronization
import TestSupport
import Testing

extension DevicesInTurn {
    /// Encoded chunks come into a GPU's memory decoded, on every way, and nothing beside them is touched.
    @Suite(.timeLimit(.minutes(5))) struct EncodedStreams {
        private let directory = TemporaryDirectory()

        /// Bytes that encode to half their size.
        private func sample(_ count: Int, _ salt: UInt64 = 1) -> [UInt8] {
            FilePattern(salt).bytes(0..<count).map { $0 & 0x0F }
        }

        private func write(
            _ bytes: [UInt8], _ queue: StorageQueue, _ name: String, _ codec: any Codec
        ) async throws -> (StorageFile, [EncodedChunk]) {
            let file = try await queue.open(directory[name], [.readWrite, .create])
            let buffer = try await queue.allocate(byteCount: max(1, bytes.count))
            buffer.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
            return (file, try await queue.write(buffer[0..<bytes.count], to: file, encoding: codec))
        }

        private func contents(_ slice: GPUBuffer.Slice, _ queue: StorageQueue) async throws -> [UInt8] {
            let host = try await queue.allocate(byteCount: slice.count)
            try await queue.write(slice, to: host[...])
            return host.bytes
        }

        @Test(arguments: Way.allCases, Driver.allCases)
        func chunksArriveDecodedAndInPlace(_ way: Way, _ driver: Driver) async throws {
            var random = seededOnce("encoded streams, \(way) \(driver)")
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue(driver.configuration { $0.stagingBytes = 4 << 20 }) { queue in
                    let bytes = sample(1_200_001)
                    let buffer = try device.makeBuffer(byteCount: 3 << 20)
                    for codec in [Zstd(), GDeflate(level: 1, framing: .page)] as [any Codec] {
                        let (file, chunks) = try await write(bytes, queue, "\(codec.identifier)", codec)
                        for isCold in [false, true] {
                            for range in [0..<bytes.count, 0..<0, 1..<2, 65_000..<1_100_000] {
                                if isCold { dropFromCache(file.path) }
                                let start = random.below(buffer.count - range.count - 300) + 100
                                let around = start - 100..<start + range.count + 100
                                try await FilePattern(99).fill(buffer[around], queue)
                                let count = try await queue.read(
                                    from: file, chunks: chunks, range: range,
                                    into: buffer[start..<start + range.count], decoding: codec)
                                #expect(count == range.count)
                                let found = try await contents(buffer[around], queue)
                                let text = "\(codec.identifier), cold \(isCold), \(range), seed \(random.seed)"
                                #expect(Array(found.dropFirst(100).dropLast(100)) == Array(bytes[range]), "\(text)")
                                let rest = FilePattern(99).bytes(0..<around.count)
                                #expect(found.prefix(100) == rest.prefix(100), "before: \(text)")
                                #expect(found.suffix(100) == rest.suffix(100), "behind: \(text)")
                            }
                        }
                    }
                }
            }
        }

        @Test(arguments: Way.allCases)
        func manySmallOnesArriveTogether(_ way: Way) async throws {
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let bytes = sample(600_000)
                    let (file, chunks) = try await write(bytes, queue, "many", LZ4())
                    let buffer = try device.makeBuffer(byteCount: bytes.count)
                    var requests = chunks.indices.map { index in
                        let start = index * chunks[0].decodedCount
                        return DecodingRequest(
                            from: file, chunks: [chunks[index]],
                            into: buffer[start..<start + chunks[index].decodedCount],
                            decoding: LZ4())
                    }
                    // One that lies outside its buffer, and one of damaged bytes.
                    requests.append(
                        DecodingRequest(
                            from: file, chunks: [chunks[0]], into: buffer[buffer.count - 1..<buffer.count + 65_535],
                            decoding: LZ4()))
                    var wrong = chunks[0]
                    wrong.offset += 1
                    let spare = try device.makeBuffer(byteCount: wrong.decodedCount)
                    requests.append(
                        DecodingRequest(from: file, chunks: [wrong], into: spare[...], decoding: LZ4()))
                    let results = await queue.perform(requests)
                    for index in chunks.indices { #expect(results[index].value == chunks[index].decodedCount) }
                    #expect(results[chunks.count].code == .invalidRange)
                    #expect(results[chunks.count + 1].code == .malformedData)
                    #expect(try await contents(buffer[...], queue) == bytes)
                }
            }
        }

        /// Zstandard that counts.
        private struct Counting: Codec {
            final class Count: Sendable { let decoded = Atomic<Int>(0) }

            let count = Count()
            private let codec = Zstd()
            var identifier: CodecIdentifier { codec.identifier }
            var chunkSize: Int { codec.chunkSize }

            func bound(of byteCount: Int) -> Int { codec.bound(of: byteCount) }
            func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
                try codec.encode(source, into: &destination)
            }
            func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
                count.decoded.add(1, ordering: .relaxed)
                try codec.decode(source, into: &destination)
            }
        }

        @Test(arguments: Way.allCases, [300_000, 3 << 19])
        func aLargeChunkIsDecodedOnce(_ way: Way, _ chunkSize: Int) async throws {
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let codec = Counting()
                    let bytes = sample(4_000_000)
                    let host = try await queue.allocate(byteCount: bytes.count)
                    host.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
                    let file = try await queue.open(directory["large"], [.readWrite, .create])
                    let chunks = try await queue.write(host[...], to: file, encoding: codec, chunkSize: chunkSize)
                    let buffer = try device.makeBuffer(byteCount: bytes.count)
                    for isCold in [false, true] {
                        if isCold { dropFromCache(file.path) }
                        let before = codec.count.decoded.load(ordering: .relaxed)
                        try await queue.read(from: file, chunks: chunks, into: buffer[...], decoding: codec)
                        #expect(codec.count.decoded.load(ordering: .relaxed) - before == chunks.count)
                        #expect(try await contents(buffer[...], queue) == bytes)
                    }
                    // Parts of it, and damage.
                    for range in [1..<1_999_999, 1_500_000..<3_999_999] {
                        let slice = buffer[range]
                        try await FilePattern(3).fill(buffer[...], queue)
                        try await queue.read(
                            from: file, chunks: chunks, range: range, into: slice, decoding: codec)
                        #expect(try await contents(slice, queue) == Array(bytes[range]))
                    }
                    var damaged = chunks
                    damaged[damaged.count / 2].count -= 1
                    await expectFailure(.malformedData) {
                        try await queue.read(from: file, chunks: damaged, into: buffer[...], decoding: codec)
                    }
                }
            }
        }

        @Test(arguments: [Way.imported, .allocated])
        func manyLargeChunksAtOnceDoNotWaitForOneAnother(_ way: Way) async throws {
            // More than there is memory for, both of what is staged and of chunks that are kept.
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue(Driver.ioUring.configuration { $0.stagingBytes = 4 << 20 }) { queue in
                    let bytes = sample(4 << 20)
                    let host = try await queue.allocate(byteCount: bytes.count)
                    host.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
                    let file = try await queue.open(directory["chunk"], [.readWrite, .create])
                    let chunks = try await queue.write(host[...], to: file, encoding: Zstd(), chunkSize: bytes.count)
                    let buffers = try (0..<12).map { _ in try device.makeBuffer(byteCount: bytes.count) }
                    try await withThrowingTaskGroup { group in
                        for buffer in buffers {
                            group.addTask {
                                try await queue.read(
                                    from: file, chunks: chunks, into: buffer[...], decoding: Zstd())
                            }
                        }
                        for try await count in group { #expect(count == bytes.count) }
                    }
                    for buffer in buffers { #expect(try await contents(buffer[...], queue) == bytes) }
                }
            }
        }

        @Test func imagesArriveDecoded() async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    for picture in ImageStreams.pictures + [ImageStreams.large] {
                        let image = try device.makeImage(picture.image)
                        let region = image.whole()
                        let bytes = sample(region.count)
                        // Chunks end anywhere within rows.
                        let (file, chunks) = try await write(bytes, queue, picture.name.filter(\.isLetter), Zstd())
                        let count = try await queue.read(from: file, chunks: chunks, into: region, decoding: Zstd())
                        #expect(count == region.count)
                        let host = try await queue.allocate(byteCount: region.count)
                        try await queue.write(image.whole(from: .shaderReadOnly, to: .shaderReadOnly), to: host[...])
                        #expect(host.bytes == bytes, "\(picture.name)")
                    }
                }
            }
        }

        @Test(arguments: Way.allCases)
        func shutdownWhileDecodingEndsEverythingOnce(_ way: Way) async throws {
            try await withValidatedDevice(way.configure) { device in
                for round in 0..<6 {
                    let queue = try StorageQueue()
                    let bytes = sample(1 << 20)
                    let (file, chunks) = try await write(bytes, queue, "shutdown", Zstd())
                    if round % 2 == 0 { dropFromCache(file.path) }
                    let buffer = try device.makeBuffer(byteCount: 4 << 20)
                    let ended = Shared(0)
                    await withTaskGroup(of: Void.self) { group in
                        for part in 0..<4 {
                            group.addTask {
                                do throws(StorageError) {
                                    let slice = buffer[part << 20..<(part + 1) << 20]
                                    let count = try await queue.read(
                                        from: file, chunks: chunks, into: slice, decoding: Zstd())
                                    #expect(count == bytes.count)
                                } catch {
                                    #expect(error.code == .queueClosed, "\(error)")
                                }
                                ended.change { $0 += 1 }
                            }
                        }
                        for _ in 0..<round * 4 { await Task.yield() }
                        await queue.shutdown()
                    }
                    #expect(ended.now == 4)
                }
            }
        }
    }
}

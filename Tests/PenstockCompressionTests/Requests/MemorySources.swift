import Penstock
import PenstockCompression
import TestSupport
import Testing

/// What is in memory already is decoded as what is in a file is.
@Suite struct MemorySources {
    private let directory = TemporaryDirectory()

    @Test func everyCodecComesBackInChunks() async throws {
        var random = seededOnce("decoding from memory")
        try await withStorageQueue { queue in
            for codec in EncodedReads.codecs {
                let bytes = Sample.halves.bytes(500_000, &random)
                let file = try await queue.open(directory["\(codec.identifier)"], [.readWrite, .create, .truncate])
                let chunks = try await queue.write(bytes, to: file, at: 1000, encoding: codec, checkedBy: testHash)
                let encoded = try await queue.buffer(of: directory.contents(file.path))
                let buffer = try await queue.allocate(byteCount: bytes.count)
                for range in [0..<bytes.count, 0..<0, 1..<2, 65_000..<400_000] {
                    let request = DecodingRequest(
                        from: encoded[...], chunks: chunks, range: range, into: buffer[0..<range.count],
                        decoding: codec, checkedBy: testHash)
                    #expect(request.file == nil)
                    #expect(await queue.perform([request])[0].value == range.count, "\(codec.identifier)")
                    #expect(Array(buffer.bytes.prefix(range.count)) == Array(bytes[range]), "seed \(random.seed)")
                }
                // A byte is another; tile streams have no checksum. And the memory ends too soon.
                encoded.withUnsafeMutableBytes { $0[Int(chunks.last!.offset) + 9] ^= 1 }
                let damaged = DecodingRequest(
                    from: encoded[...], chunks: chunks, into: buffer[...], decoding: codec, checkedBy: testHash)
                let error = await queue.perform([damaged])[0].error
                #expect(error?.code == (chunks[0].checksum == nil ? .malformedData : .checksumMismatch))
                #expect(error?.offset == chunks.last!.offset)
                let short = DecodingRequest(
                    from: encoded[0..<encoded.count - 1], chunks: chunks, into: buffer[...], decoding: codec)
                #expect(await queue.perform([short])[0].code == .malformedData)
                let outside = DecodingRequest(
                    from: encoded[1..<encoded.count + 1], chunks: chunks, into: buffer[...], decoding: codec)
                #expect(await queue.perform([outside])[0].code == .invalidRange)
            }
        }
    }

    @Test(arguments: [1, 65_536, 300_000])
    func everyCodecComesBackInOnePiece(_ count: Int) async throws {
        var random = seededOnce("decoding \(count) bytes from memory")
        let bytes = Sample.text.bytes(count, &random)
        try await withStorageQueue { queue in
            for codec in EncodedReads.codecs where count <= GDeflate.pageSize || codec.identifier != "gdpg" {
                let encoded = try await queue.buffer(of: try codec.encoded(bytes))
                let buffer = try await queue.allocate(byteCount: count + 1)
                #expect(try await queue.read(from: encoded[...], into: buffer[0..<count], decoding: codec) == count)
                #expect(buffer.bytes.prefix(count) == bytes[...], "\(codec.identifier)")
                await expectFailure(.malformedData) {
                    try await queue.read(from: encoded[...], into: buffer[...], decoding: codec)
                }
                await expectFailure(.malformedData) {
                    try await queue.read(
                        from: encoded[0..<encoded.count - 1], into: buffer[0..<count], decoding: codec)
                }
            }
        }
    }

    @Test func requestsFromMemoryAndFilesGoTogether() async throws {
        var random = seededOnce("memory and files")
        let bytes = Sample.text.bytes(100_000, &random)
        try await withStorageQueue { queue in
            let file = try await queue.open(directory["both"], [.readWrite, .create])
            let chunks = try await queue.write(bytes, to: file, encoding: Zstd())
            let encoded = try await queue.buffer(of: directory.contents(file.path))
            dropFromCache(file.path)
            var buffers: [HostBuffer] = []
            for _ in 0..<6 { buffers.append(try await queue.allocate(byteCount: bytes.count)) }
            let requests = buffers.enumerated().map { index, buffer in
                index % 2 == 0
                    ? DecodingRequest(from: file, chunks: chunks, into: buffer[...], decoding: Zstd())
                    : DecodingRequest(from: encoded[...], chunks: chunks, into: buffer[...], decoding: Zstd())
            }
            for result in await queue.perform(requests) { #expect(result.value == bytes.count) }
            for buffer in buffers { #expect(buffer.bytes == bytes) }
        }
    }
}

import CVulkan
import Penstock
import PenstockCompression
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// What is decoded into a GPU's memory may come from memory, and may wait and tell on the GPU.
    @Suite(.timeLimit(.minutes(5))) struct EncodedSources {
        private let directory = TemporaryDirectory()
        private static let codec = GDeflate(level: 1)

        /// Bytes that encode to half their size, and what they encode to.
        private func sample(_ count: Int, _ queue: StorageQueue) async throws -> (bytes: [UInt8], encoded: HostBuffer) {
            let bytes = FilePattern(5).bytes(0..<count).map { $0 & 0x0F }
            let encoded = try await queue.allocate(byteCount: Self.codec.bound(of: count))
            let size = try encoded.withUnsafeMutableBytes { memory in
                var destination = MutableRawSpan(_unsafeBytes: memory)
                return try bytes.withUnsafeBytes {
                    try Self.codec.encode(RawSpan(_unsafeBytes: $0), into: &destination)
                }
            }
            return (bytes, encoded.prefix(size))
        }

        @Test(arguments: Way.allCases, [DecodingPolicy.Processor.cpu, .gpu])
        func memoryIsDecodedByEither(_ way: Way, _ processor: DecodingPolicy.Processor) async throws {
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let (bytes, encoded) = try await sample(1_000_001, queue)
                    queue.setDecodingPolicy(DecodingPolicy(processor))
                    let buffer = try device.makeBuffer(byteCount: bytes.count + 200)
                    try await FilePattern(99).fill(buffer[...], queue)
                    let slice = buffer[100..<100 + bytes.count]
                    #expect(
                        try await queue.read(from: encoded[...], into: slice, decoding: Self.codec) == bytes.count)
                    #expect((queue.decodingStatistics.gpu.chunks > 0) == (processor == .gpu))
                    let found = try await buffer[...].bytes(queue)
                    #expect(Array(found.dropFirst(100).dropLast(100)) == bytes)
                    let rest = FilePattern(99).bytes(0..<found.count)
                    #expect(found.prefix(100) == rest.prefix(100))
                    #expect(found.suffix(100) == rest.suffix(100))
                    // What is missing is told, by whichever.
                    await expectFailure(.malformedData) {
                        try await queue.read(
                            from: encoded[0..<encoded.count - 3], into: slice, decoding: Self.codec)
                    }
                }
            }
        }

        @Test func imagesAreDecodedFromMemory() async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let image = try device.makeImage(ImageStreams.large.image)
                    let (bytes, encoded) = try await sample(image.whole().count, queue)
                    #expect(
                        try await queue.read(from: encoded[...], into: image.whole(), decoding: Self.codec)
                            == bytes.count)
                    let host = try await queue.allocate(byteCount: bytes.count)
                    try await queue.write(image.whole(from: .shaderReadOnly, to: .shaderReadOnly), to: host[...])
                    #expect(host.bytes == bytes)
                }
            }
        }

        @Test(arguments: [false, true])
        func theApplicationsSemaphoresComeBeforeAndAfter(_ isOnDisk: Bool) async throws {
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt()
                let (gate, done) = (raw.makeTimeline(), raw.makeTimeline())
                try await withStorageQueue { queue in
                    let (bytes, encoded) = try await sample(2_500_000, queue)
                    let file = try await queue.open(directory["stream"], [.readWrite, .create])
                    try await queue.write(encoded[...], to: file, at: 0)
                    if isOnDisk { dropFromCache(file.path) }
                    let buffer = try device.makeBuffer(byteCount: bytes.count)
                    let memory = buffer[...].synchronized(by: .init(after: [gate.at(1)], signal: [done.at(1)]))
                    #expect(memory.count == bytes.count)
                    let reading = Task {
                        try await queue.read(
                            from: file, count: encoded.count, into: memory, decoding: Self.codec)
                    }
                    // Others are not held up, and come first.
                    let first = try device.makeBuffer(byteCount: bytes.count)
                    try await queue.read(from: encoded[...], into: first[...], decoding: Self.codec)
                    #expect(raw.value(of: done) == 0)
                    application.signal(gate.at(1))
                    #expect(try await reading.value == bytes.count)
                    #expect(raw.wait(for: done.at(1)) == VK_SUCCESS)
                    #expect(try await buffer[...].bytes(queue) == bytes)
                    // Nobody is told of what has failed, and values must rise.
                    await expectFailure(.malformedData) {
                        try await queue.read(
                            from: encoded[0..<encoded.count - 9],
                            into: buffer[...].synchronized(by: .init(signal: [done.at(2)])), decoding: Self.codec)
                    }
                    await expectFailure(.invalidArgument) {
                        try await queue.read(
                            from: encoded[...], into: buffer[...].synchronized(by: .init(signal: [done.at(1)])),
                            decoding: Self.codec)
                    }
                    #expect(raw.value(of: done) == 1)
                }
                raw.destroy(gate)
                raw.destroy(done)
            }
        }
    }
}

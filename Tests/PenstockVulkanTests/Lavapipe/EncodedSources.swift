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
                    let (bytes, encoded) = try await sample(300_001, queue)
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
                    let image = try device.makeImage(
                        .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 300, height: 200, mipLevels: 5))
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
                    let (bytes, encoded) = try await sample(1_500_000, queue)
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

        @Test func whatWaitsForSemaphoresHoldsNobodyUp() async throws {
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt()
                let (gate, done) = (raw.makeTimeline(), raw.makeTimeline())
                try await withStorageQueue(
                    Driver.ioUring.configuration {
                        $0.stagingBytes = 4 << 20
                        $0.bytesInFlight = 4 << 20
                    }
                ) { queue in
                    // Each of them could take all the staging memory, or all the bytes in flight.
                    let count = 5 << 20
                    let file = try await queue.open(directory.make("large", count: count))
                    let (bytes, encoded) = try await sample(count, queue)
                    let buffers = try (0..<4).map { _ in try device.makeBuffer(byteCount: count) }
                    try await FilePattern(4).fill(buffers[3][...], queue)
                    let written = try await queue.open(directory["written"], [.readWrite, .create])
                    let after = GPUSynchronization(after: [gate.at(1)])
                    let waiting = [
                        Task { try await queue.read(from: file, into: buffers[0][...], synchronization: after) },
                        Task {
                            try await queue.read(
                                from: encoded[...], into: buffers[1][...].synchronized(by: after),
                                decoding: Self.codec)
                        },
                        Task { try await queue.write(buffers[3][...], to: written, synchronization: after) },
                        Task { try await queue.write(buffers[3][...], to: written, synchronization: after) },
                    ]
                    // What the application signals by comes behind others of the same kind.
                    for _ in 0..<2 {
                        try await queue.read(from: file, into: buffers[2][...])
                        try await queue.read(from: encoded[...], into: buffers[2][...], decoding: Self.codec)
                        try await queue.write(
                            buffers[3][0..<1 << 20],
                            to: try await queue.open(directory["other"], [.writeOnly, .create]))
                        let host = try await queue.allocate(byteCount: count)
                        #expect(try await queue.read(from: file, into: host[...]) == count)
                    }
                    let last = Task {
                        try await queue.read(
                            from: file, into: buffers[2][0..<4096], synchronization: .init(signal: [done.at(1)]))
                    }
                    #expect(raw.wait(for: done.at(1)) == VK_SUCCESS)
                    #expect(try await last.value == 4096)
                    application.signal(gate.at(1))
                    for task in waiting { #expect(try await task.value == count) }
                    #expect(try await buffers[0][...].bytes(queue) == FilePattern().bytes(0..<count))
                    #expect(try await buffers[1][...].bytes(queue) == bytes)
                    #expect(directory.contents(written.path) == FilePattern(4).bytes(0..<count))
                }
                raw.destroy(gate)
                raw.destroy(done)
            }
        }

        @Test func whatWaitsForSemaphoresEndsInEveryWay() async throws {
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt()
                let gate = raw.makeTimeline()
                let count = 1 << 20
                let path = directory.make("file", count: count)
                let buffer = try device.makeBuffer(byteCount: count)
                let image = try device.makeImage(ImageStreams.large.image)
                let after = GPUSynchronization(after: [gate.at(1)])
                let queue = try StorageQueue()
                let file = try await queue.open(path)
                func read() async throws(StorageError) -> Int {
                    try await queue.read(from: file, into: buffer[...], tag: 7, synchronization: after)
                }
                let cancelled = Task { try await read() }
                cancelled.cancel()
                await expectFailure(.cancelled) { try await cancelled.value }
                await expectFailure(.deadlineExceeded) {
                    try await queue.read(
                        from: file, into: buffer[...], deadline: .now + .milliseconds(5), synchronization: after)
                }
                await expectFailure(.deadlineExceeded) {
                    try await queue.read(
                        from: file, into: image.level(3), deadline: .now + .milliseconds(5), synchronization: after)
                }
                // Nothing has begun: the image is as it was.
                #expect(try await queue.read(from: file, into: image.level(3)) == image.level(3).count)
                await expectFailure(.invalidRange) {
                    try await queue.read(from: file, into: buffer[1..<count + 1], synchronization: after)
                }
                let ended = Task { try await read() }
                await queue.shutdown()
                await expectFailure(.queueClosed) { try await ended.value }
                raw.destroy(gate)
            }
        }
    }
}

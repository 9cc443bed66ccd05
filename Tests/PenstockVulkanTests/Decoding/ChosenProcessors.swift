import Penstock
import PenstockCompression
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// What decodes is what was chosen, and the bytes are the same.
    @Suite(.timeLimit(.minutes(5))) struct ChosenProcessors {
        private let directory = TemporaryDirectory()

        private static let codec = GDeflate(level: 1, framing: .page)

        private static let hash: DecodingRequest.Hash = { bytes in
            bytes.withUnsafeBytes { $0.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 } }
        }

        /// Six pages, the third of which cannot be made smaller, and a short one.
        private func write(_ queue: StorageQueue) async throws -> (bytes: [UInt8], StorageFile, [EncodedChunk]) {
            let page = GDeflate.pageSize
            var bytes = FilePattern(7).bytes(0..<6 * page + 1000).map { $0 & 0x0F }
            bytes.replaceSubrange(2 * page..<3 * page, with: FilePattern(8).bytes(0..<page))
            let file = try await queue.open(directory["pages"], [.readWrite, .create, .truncate])
            let host = try await queue.allocate(byteCount: bytes.count)
            host.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
            let chunks = try await queue.write(host[...], to: file, at: 3, encoding: Self.codec, checkedBy: Self.hash)
            #expect(chunks.map(\.isStored) == [false, false, true, false, false, false, false])
            return (bytes, file, chunks)
        }

        private func contents(_ slice: GPUBuffer.Slice, _ queue: StorageQueue) async throws -> [UInt8] {
            let host = try await queue.allocate(byteCount: slice.count)
            try await queue.write(slice, to: host[...])
            return host.bytes
        }

        @Test(arguments: Way.allCases, [false, true])
        func theGPUDecodesWhatItCanAndTheWorkersTheRest(_ way: Way, _ isChecked: Bool) async throws {
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let (bytes, file, chunks) = try await write(queue)
                    let buffer = try device.makeBuffer(byteCount: bytes.count + 200)
                    queue.setDecodingPolicy(DecodingPolicy(.gpu))
                    for (range, onGPU) in [(0..<bytes.count, 6), (100..<bytes.count - 1, 4), (70_000..<80_000, 0)] {
                        for isCold in [false, true] {
                            if isCold { dropFromCache(file.path) }
                            try await FilePattern(99).fill(buffer[...], queue)
                            let before = queue.decodingStatistics
                            let slice = buffer[100..<100 + range.count]
                            let count = try await queue.read(
                                from: file, chunks: chunks, range: range, into: slice, decoding: Self.codec,
                                checkedBy: isChecked ? Self.hash : nil)
                            #expect(count == range.count)
                            let after = queue.decodingStatistics
                            #expect(Int(after.gpu.chunks - before.gpu.chunks) == onGPU, "\(range), cold \(isCold)")
                            // One of the seven is stored, and not decoded by anyone.
                            let all = range.lowerBound == 70_000 ? 1 : 6
                            #expect(Int(after.cpu.chunks - before.cpu.chunks) == all - onGPU, "\(range)")
                            let found = try await contents(buffer[...], queue)
                            #expect(Array(found[100..<100 + range.count]) == Array(bytes[range]), "\(range)")
                            let rest = FilePattern(99).bytes(0..<buffer.count)
                            #expect(found.prefix(100) == rest.prefix(100))
                            #expect(found.dropFirst(100 + range.count) == rest.dropFirst(100 + range.count))
                        }
                    }
                }
            }
        }

        @Test func aRequestsChoiceGoesBeforeTheQueues() async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let (bytes, file, chunks) = try await write(queue)
                    let buffer = try device.makeBuffer(byteCount: bytes.count)
                    var request = DecodingRequest(
                        from: file, chunks: chunks, into: buffer[...], decoding: Self.codec)
                    func read() async throws -> UInt64 {
                        let before = queue.decodingStatistics.gpu.chunks
                        #expect(await queue.perform([request])[0].value == bytes.count)
                        #expect(try await contents(buffer[...], queue) == bytes)
                        return queue.decodingStatistics.gpu.chunks - before
                    }
                    queue.setDecodingPolicy(DecodingPolicy(.cpu))
                    #expect(try await read() == 0)
                    request.processor = .gpu
                    #expect(try await read() == 6)
                }
            }
        }

        @Test func aGPUMadeOfSoftwareIsNotChosen() async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let (bytes, file, chunks) = try await write(queue)
                    let buffer = try device.makeBuffer(byteCount: bytes.count)
                    #expect(queue.decodingPolicy.processor == .automatic)
                    for _ in 0..<3 {
                        try await queue.read(from: file, chunks: chunks, into: buffer[...], decoding: Self.codec)
                    }
                    #expect(queue.decodingStatistics.gpu.chunks == 0)
                    #expect(try await contents(buffer[...], queue) == bytes)
                }
            }
        }

        @Test(arguments: Way.allCases, [false, true])
        func damageIsTheSameErrorOnEither(_ way: Way, _ isChecked: Bool) async throws {
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let (bytes, file, chunks) = try await write(queue)
                    directory.write(file.path, Int64(chunks[4].offset)..<Int64(chunks[4].offset) + 500)
                    let buffer = try device.makeBuffer(byteCount: bytes.count)
                    var errors: [StorageError?] = []
                    for processor in [DecodingPolicy.Processor.cpu, .gpu] {
                        queue.setDecodingPolicy(DecodingPolicy(processor))
                        let error = await expectFailure(isChecked ? .checksumMismatch : .malformedData) {
                            try await queue.read(
                                from: file, chunks: chunks, into: buffer[...], decoding: Self.codec,
                                checkedBy: isChecked ? Self.hash : nil)
                        }
                        #expect(error?.path == file.path && error?.offset == chunks[4].offset)
                        #expect(isChecked || error?.underlying is CodecError)
                        errors.append(error)
                    }
                    #expect(errors[0].map { "\($0)" } == errors[1].map { "\($0)" })
                    errors = []
                    try await file.truncate(to: chunks[6].offset + 10)
                    for processor in [DecodingPolicy.Processor.cpu, .gpu] {
                        for isCold in [false, true] {
                            if isCold { dropFromCache(file.path) }
                            queue.setDecodingPolicy(DecodingPolicy(processor))
                            let error = await expectFailure(.malformedData) {
                                try await queue.read(
                                    from: file, chunks: Array(chunks[5...]),
                                    into: buffer[0..<GDeflate.pageSize + 1000], decoding: Self.codec,
                                    checkedBy: isChecked ? Self.hash : nil)
                            }
                            #expect(error?.offset == chunks[6].offset)
                            errors.append(error)
                        }
                    }
                    #expect(Set(errors.map { "\($0 as Any)" }).count == 1, "\(errors)")
                }
            }
        }
    }
}

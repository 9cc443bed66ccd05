import Glibc
import Penstock
import PenstockArchive
import PenstockCompression
import PenstockVulkan
import SystemPackage

/// A corpus as chunks in a file, decoded by requests of a queue.
final class RequestRuns: Sendable {
    private let queue: StorageQueue
    private let codec: any Codec
    private let data: [UInt8]
    private let file: StorageFile
    private let path: FilePath
    private let chunks: [EncodedChunk]
    private let output: HostBuffer
    private let archive: StorageArchive
    private let archivePath: FilePath

    /// Writes the corpus to a file in the directory, which goes with the object.
    init(
        _ queue: StorageQueue, _ codec: any Codec, _ data: [UInt8], chunkSize: Int, directory: FilePath
    ) async throws {
        self.queue = queue
        self.codec = codec
        self.data = data
        path = directory.appending("penstock-bench-\(getpid()).\(codec.identifier)")
        file = try await queue.open(path, [.readWrite, .create])
        let output = try await queue.allocate(byteCount: data.count)
        data.withUnsafeBytes { data in output.withUnsafeMutableBytes { $0.copyMemory(from: data) } }
        self.output = output
        chunks = try await queue.write(output[...], to: file, encoding: codec, chunkSize: chunkSize)
        archivePath = path.removingLastComponent().appending("\(path.lastComponent!).penstock")
        try await ArchiveWriter(on: queue, codec: codec, chunkSize: chunkSize).write(
            [ArchiveSource("data", bytes: data)], to: archivePath)
        archive = try await StorageArchive.open(archivePath, on: queue)
    }

    deinit {
        for path in [path, archivePath] { _ = path.withPlatformString { unlink($0) } }
    }

    /// An archive's only entry, every chunk's checksum checked.
    func readArchive() async throws -> Sample {
        try await measured { try await self.archive.read(self.archive["data"]!, into: self.output[...]) }
    }

    /// Everything once, in one request.
    func readAtOnce() async throws -> Sample {
        try await measured {
            try await self.queue.read(
                from: self.file, chunks: self.chunks, into: self.output[...], decoding: self.codec)
        }
    }

    /// Everything once, in requests of so many chunks, by so many tasks.
    func read(chunksEach: Int, tasks: Int) async throws -> Sample {
        try await measured {
            let cursor = Cursor()
            let starts = Array(stride(from: 0, to: self.chunks.count, by: chunksEach))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<tasks {
                    group.addTask {
                        while let index = cursor.next(below: starts.count) {
                            let part = Array(
                                self.chunks[starts[index]..<min(starts[index] + chunksEach, self.chunks.count)])
                            let offset = starts[index] * self.chunks[0].decodedCount
                            let count = part.reduce(0) { $0 + $1.decodedCount }
                            try await self.queue.read(
                                from: self.file, chunks: part, into: self.output[offset..<offset + count],
                                decoding: self.codec)
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// The first chunks, into a GPU's buffer, decoded by the processor.
    func read(chunks count: Int, to buffer: GPUBuffer, by processor: DecodingPolicy.Processor) async throws -> Sample {
        let part = Array(chunks.prefix(count))
        let byteCount = part.reduce(0) { $0 + $1.decodedCount }
        var request = DecodingRequest(from: file, chunks: part, into: buffer[0..<byteCount], decoding: codec)
        request.processor = processor
        let sample = try await Sample.measure(operations: part.count, bytes: UInt64(byteCount)) { [request] in
            _ = try await self.queue.perform([request])[0].get()
        }
        let back = try await queue.allocate(byteCount: byteCount)
        try await queue.write(buffer[0..<byteCount], to: back[...])
        guard back.withUnsafeBytes({ $0.elementsEqual(data.prefix(byteCount)) }) else {
            throw BenchError("\(codec.identifier) has decoded other bytes into the GPU's buffer than were encoded")
        }
        return sample
    }

    private func measured(_ body: @escaping @Sendable () async throws -> Void) async throws -> Sample {
        output.withUnsafeMutableBytes { _ = memset($0.baseAddress!, 0, $0.count) }
        let sample = try await Sample.measure(
            operations: (data.count + 65_535) / 65_536, bytes: UInt64(data.count), body)
        let isRight = output.withUnsafeBytes { output in
            data.withUnsafeBytes { memcmp($0.baseAddress!, output.baseAddress!, $0.count) == 0 }
        }
        guard isRight else { throw BenchError("\(codec.identifier) has decoded other bytes than were encoded") }
        return sample
    }
}

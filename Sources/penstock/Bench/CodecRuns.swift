import Glibc
import PenstockCompression

/// A corpus in chunks, encoded by one codec: decodes it, and encodes it again, as often as a case asks for.
///
/// `@unchecked Sendable`: each chunk's place in `output` is written by the one task that has taken the chunk.
final class CodecRuns: @unchecked Sendable {
    private let codec: any Codec
    private let data: [UInt8]
    private let chunkSize: Int
    private let encoded: [[UInt8]]
    private let output: UnsafeMutableRawBufferPointer

    init(_ codec: any Codec, _ data: [UInt8], chunkSize: Int) throws {
        self.codec = codec
        self.data = data
        self.chunkSize = chunkSize
        encoded = try Self.chunks(data.count, chunkSize).map { range in
            var room = [UInt8](repeating: 0, count: codec.bound(of: range.count))
            let size = try room.withUnsafeMutableBytes { room in
                var destination = room.mutableBytes
                return try data.withUnsafeBytes { data in
                    try codec.encode(UnsafeRawBufferPointer(rebasing: data[range]).bytes, into: &destination)
                }
            }
            return Array(room[..<size])
        }
        output = .allocate(byteCount: data.count, alignment: 4096)
        output.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { output.deallocate() }

    private static func chunks(_ count: Int, _ size: Int) -> [Range<Int>] {
        stride(from: 0, to: count, by: size).map { $0..<min($0 + size, count) }
    }

    private var chunkCount: Int { encoded.count }
    /// What counts as an operation, whatever the chunks' size.
    private var pageCount: Int { (data.count + 65_535) / 65_536 }

    /// Uncompressed bytes by encoded bytes.
    var ratio: Double { Double(data.count) / Double(encoded.reduce(0) { $0 + $1.count }) }

    // MARK: Decoding

    /// Every chunk once, by so many threads.
    func decode(threads: Int) async throws -> Sample {
        _ = output.withMemoryRebound(to: UInt8.self) { memset($0.baseAddress!, 0, $0.count) }
        let sample = try await Sample.measure(operations: pageCount, bytes: UInt64(data.count)) {
            try await onThreads(threads) { try self.decode($0) }
        }
        let isRight = data.withUnsafeBytes { memcmp($0.baseAddress!, output.baseAddress!, data.count) == 0 }
        guard isRight else { throw BenchError("\(codec.identifier) has decoded other bytes than were encoded") }
        return sample
    }

    private func decode(_ chunk: Int) throws {
        let start = chunk * chunkSize
        let end = min(start + chunkSize, data.count)
        var destination = UnsafeMutableRawBufferPointer(rebasing: output[start..<end]).mutableBytes
        try encoded[chunk].withUnsafeBytes { try codec.decode($0.bytes, into: &destination) }
    }

    // MARK: Encoding

    /// Every chunk once, by one thread.
    func encode() async throws -> Sample {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: codec.bound(of: chunkSize), alignment: 16)
        defer { room.deallocate() }
        var sizes = 0
        let sample = try await Sample.measure(operations: pageCount, bytes: UInt64(data.count)) {
            for range in Self.chunks(data.count, chunkSize) {
                var destination = room.mutableBytes
                sizes += try data.withUnsafeBytes { data in
                    try codec.encode(UnsafeRawBufferPointer(rebasing: data[range]).bytes, into: &destination)
                }
            }
        }
        let isSame = sizes == encoded.reduce(0) { $0 + $1.count }
        guard isSame else { throw BenchError("\(codec.identifier) has encoded the same bytes to another size") }
        return sample
    }

    // MARK: Threads

    private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) async throws {
        guard count > 1 else {
            for chunk in 0..<chunkCount { try body(chunk) }
            return
        }
        let cursor = Cursor()
        let chunkCount = chunkCount
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<count {
                group.addTask { while let chunk = cursor.next(below: chunkCount) { try body(chunk) } }
            }
            try await group.waitForAll()
        }
    }
}

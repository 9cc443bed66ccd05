import Penstock
import PenstockCompression
import PenstockVulkan
import SystemPackage
import TestSupport

/// Pages as they might lie in a file, and what they are to become in a buffer.
struct PackedFile: Sendable {
    var bytes: [UInt8] = []
    var pages: [SinkDecoding.Page] = []
    /// Of the destination, in which pages have gaps between them that nothing may touch.
    var decoded: [UInt8] = []

    static let untouched: UInt8 = 0xA7

    /// Pages of some kilobytes, some larger, and some bytes between them.
    init(_ count: Int, _ random: inout SeededRandom) throws {
        for _ in 0..<count {
            if random.chance(20) { bytes += Sample.noise.bytes(random.below(30), &random) }
            let isLarge = random.chance(4)
            let sample = Sample.allCases[random.below(Sample.allCases.count)]
            let content = sample.bytes(1 + random.below(isLarge ? 65_536 : 3000), &random)
            decoded += [UInt8](repeating: Self.untouched, count: random.below(6))
            add(try EncodedPage(content, level: [0, 1, 6][random.below(3)]), content)
        }
        decoded += [UInt8](repeating: Self.untouched, count: 5)
    }

    private mutating func add(_ page: EncodedPage, _ content: [UInt8]) {
        pages.append(
            .init(
                start: bytes.count, count: page.bytes.count, destination: decoded.count, decodedCount: content.count))
        bytes += page.bytes
        decoded += content
    }

    var decoding: SinkDecoding {
        SinkDecoding(
            format: SinkDecoding.gdeflatePage, pages: pages, byteCount: bytes.count, destinationCount: decoded.count)!
    }

    /// Writes it behind `start` other bytes.
    func write(_ file: FilePath, at start: Int) throws {
        let descriptor = try FileDescriptor.open(
            file, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        defer { try! descriptor.close() }
        try descriptor.writeAll([UInt8](repeating: 1, count: start) + bytes)
    }
}

extension GPUBuffer.Slice {
    /// Fills the slice with a byte, by way of host memory.
    func fill(_ byte: UInt8, _ queue: StorageQueue) async throws {
        let host = try await queue.allocate(byteCount: count)
        _ = host[...].withUnsafeMutableBytes { $0.initializeMemory(as: UInt8.self, repeating: byte) }
        try await queue.read(from: host[...], into: self)
    }

    /// The slice's bytes, as the GPU sees them.
    func bytes(_ queue: StorageQueue) async throws -> [UInt8] {
        let host = try await queue.allocate(byteCount: count)
        try await queue.write(self, to: host[...])
        return host.withUnsafeBytes { Array($0) }
    }

    /// Reads pages from a file, which the device decodes into the slice.
    func decode(
        _ decoding: SinkDecoding, from file: StorageFile, at offset: Int, _ queue: StorageQueue,
        _ synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> Int {
        try await queue.core.read(
            file, UInt64(offset), into: try decodingSlice(decoding, synchronization),
            RequestOptions(nil, 0, nil, nil))
    }
}

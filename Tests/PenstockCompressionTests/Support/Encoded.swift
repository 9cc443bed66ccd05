import Penstock
import PenstockCompression
import TestSupport

extension StorageQueue {
    /// A buffer of the bytes.
    func buffer(of bytes: [UInt8]) async throws -> HostBuffer {
        let buffer = try await allocate(byteCount: max(1, bytes.count))
        buffer.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
        return buffer
    }

    /// Writes the bytes as chunks.
    func write(
        _ bytes: [UInt8], to file: StorageFile, at offset: UInt64 = 0, encoding codec: any Codec,
        chunkSize: Int? = nil, checkedBy hash: DecodingRequest.Hash? = nil
    ) async throws -> [EncodedChunk] {
        let buffer = try await buffer(of: bytes)
        return try await write(
            buffer[0..<bytes.count], to: file, at: offset, encoding: codec, chunkSize: chunkSize, checkedBy: hash)
    }

    /// Reads chunks back.
    func bytes(
        of file: StorageFile, _ chunks: [EncodedChunk], _ range: Range<Int>? = nil, decoding codec: any Codec,
        checkedBy hash: DecodingRequest.Hash? = nil
    ) async throws -> [UInt8] {
        let count = range?.count ?? chunks.reduce(0) { $0 + $1.decodedCount }
        let buffer = try await allocate(byteCount: max(1, count))
        let read = try await read(
            from: file, chunks: chunks, range: range, into: buffer[0..<count], decoding: codec, checkedBy: hash)
        return Array(buffer.bytes.prefix(read))
    }
}

/// A hash for tests; FNV-1a.
let testHash: DecodingRequest.Hash = { bytes in bytes.withUnsafeBytes { hash($0) } }

import Penstock
import PenstockCompression

/// How chunks become bytes in memory. The one place that moves an archive's bytes.
extension ArchiveLayer {
    private static let hash: DecodingRequest.Hash = { checksum($0) }

    func allocate(_ count: Int) async throws(ArchiveError) -> HostBuffer {
        do throws(StorageError) {
            return try await queue.allocate(byteCount: count)
        } catch {
            throw ArchiveError(error, file: file.path, "There is no memory for \(count) bytes")
        }
    }

    /// A read of some of an entry's chunks, or of a part of what they hold.
    ///
    /// - Parameter range: Which of the chunks' uncompressed bytes, as many as the place has.
    func request(
        _ entry: ArchiveEntry, _ chunks: Range<Int>, _ range: Range<Int>? = nil, into place: ArchiveRead.Place,
        priority: StoragePriority?
    ) throws(ArchiveError) -> DecodingRequest {
        let chunks = entry.chunks(chunks)
        let codec = try codec(of: entry.record) ?? StoredChunks()
        let hash = verifies ? Self.hash : nil
        switch place {
        case .host(let slice):
            return DecodingRequest(
                from: file, chunks: chunks, range: range, into: slice, decoding: codec, checkedBy: hash,
                priority: priority)
        case .device(let memory):
            return DecodingRequest(
                from: file, chunks: chunks, range: range, into: memory, decoding: codec, checkedBy: hash,
                priority: priority)
        }
    }

    /// What went wrong with a request for an entry.
    func error(_ error: StorageError, _ entry: ArchiveEntry) -> ArchiveError {
        func make(_ code: ArchiveError.Code, _ message: String, underlying: (any Error)? = nil) -> ArchiveError {
            ArchiveError(
                code, file: file.path, entry: entry.path, offset: error.offset, message, underlying: underlying)
        }
        let size = error.length.map { "A chunk of \($0) bytes" } ?? "A chunk"
        switch error.code {
        case .checksumMismatch: return make(.checksumMismatch, "\(size) is damaged: its checksum differs")
        case .malformedData where error.underlying == nil: return make(.truncated, "The archive ends within a chunk")
        case .malformedData: return make(.undecodable, "\(size) cannot be decoded", underlying: error.underlying)
        default: return ArchiveError(error, file: file.path, entry: entry.path, "The archive cannot be read")
        }
    }
}

/// Stands for the codec of an entry that has none: whatever is not stored as it is cannot be had.
private struct StoredChunks: Codec {
    let identifier = CodecIdentifier(rawValue: 0)
    let chunkSize = Int(ArchiveFormat.blockSize)

    func bound(of byteCount: Int) -> Int { byteCount }

    func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
        throw CodecError(.notSupported, "There is no codec")
    }

    func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        throw CodecError(.notSupported, "There is no codec")
    }
}

import CPenstock
import Penstock
import PenstockCompression
import PenstockVulkan

/// The codecs of a runtime's requests, which share their tables.
struct Codecs: Sendable {
    private let gdeflate = GDeflate()
    private let zstd = Zstd()
    private let lz4 = LZ4()
    private let deflate = Deflate()
    private let zlib = Deflate(framing: .zlib)
    private let gzip = Deflate(framing: .gzip)

    /// Nil: the bytes are not encoded.
    func codec(for request: penstock_request) throws -> (any Codec)? {
        switch Int(request.compression) {
        case Int(PENSTOCK_COMPRESSION_NONE): return nil
        case Int(PENSTOCK_COMPRESSION_GDEFLATE): return gdeflate
        case Int(PENSTOCK_COMPRESSION_ZSTD): return zstd
        case Int(PENSTOCK_COMPRESSION_LZ4): return lz4
        case Int(PENSTOCK_COMPRESSION_DEFLATE): return deflate
        case Int(PENSTOCK_COMPRESSION_ZLIB): return zlib
        case Int(PENSTOCK_COMPRESSION_GZIP): return gzip
        case Int(PENSTOCK_COMPRESSION_CUSTOM):
            guard let decoder = request.decoder else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
            return HostCodec(decode: decoder, userData: request.decoder_user_data)
        default: throw Refusal(PENSTOCK_ERROR_NOT_SUPPORTED)
        }
    }
}

/// A decoder of the host's.
struct HostCodec: Codec {
    typealias Decode =
        @convention(c) (
            UnsafeMutableRawPointer?, UnsafeRawPointer?, UInt64, UnsafeMutableRawPointer?, UInt64
        ) -> Int32

    // The host says that both may be used on the runtime's workers.
    nonisolated(unsafe) let decode: Decode
    nonisolated(unsafe) let userData: UnsafeMutableRawPointer?

    var identifier: CodecIdentifier { "host" }
    var chunkSize: Int { 1 << 20 }

    func bound(of byteCount: Int) -> Int { byteCount }

    func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
        throw CodecError(.notSupported, "A host's codec only decodes")
    }

    func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        let result = source.withUnsafeBytes { source in
            destination.withUnsafeMutableBytes { destination in
                decode(
                    userData, source.baseAddress, UInt64(source.count), destination.baseAddress,
                    UInt64(destination.count))
            }
        }
        guard result == 0 else { throw CodecError(.malformed, "The host's decoder says \(result)") }
    }
}

extension HostedQueue {
    /// Enqueues a read that is decoded on its way, or comes from memory. False: the queue is full.
    func enqueueDecoded(_ request: penstock_request, _ payload: HostRequest.Payload) throws -> Bool {
        // Writing compresses nothing.
        guard request.operation == UInt32(PENSTOCK_READ) else { throw Refusal(PENSTOCK_ERROR_NOT_SUPPORTED) }
        let (piece, file) = try piece(of: request)
        let codec = try runtime.codecs.codec(for: request)
        let place = try taskPlace(of: request, size: codec == nil ? request.size : request.uncompressed_size)
        let (priority, tag, deadline) = (queue.configuration.priority, request.tag, request.deadline)
        let storage = runtime.queue
        let head = HostQueue.Head(
            isRead: true, offset: request.offset, length: Int(request.size), tag: tag, payload: payload)
        let status = request.status
        return try queue.enqueue(head) {
            status?.storeResult(code(PENSTOCK_PENDING))
        } perform: { () throws(StorageError) in
            defer { withExtendedLifetime(file) {} }
            return try await storage.read(piece, into: place, codec, priority, deadline, tag)
        }
    }

    /// What is to be decoded, and what must not be closed meanwhile.
    private func piece(of request: penstock_request) throws -> (EncodedPiece, HostedFile?) {
        guard let count = Int(exactly: request.size), request.offset <= UInt64(Int64.max) - UInt64(count) else {
            throw Refusal(PENSTOCK_ERROR_INVALID_RANGE)
        }
        guard count > 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        if let source = request.source {
            guard request.file.id == 0, request.offset == 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
            try check(source, count)
            // Only read.
            let bytes = HostBuffer(borrowing: UnsafeMutableRawPointer(mutating: source), count: count)
            return (.memory(bytes[...]), nil)
        }
        guard let hosted = Handles.files.find(request.file.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        return (.file(hosted.file, request.offset, count: count), hosted)
    }

    private func taskPlace(of request: penstock_request, size: UInt64) throws -> DecodingRequest.Place {
        guard let count = Int(exactly: size) else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        guard count > 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        if let memory = request.memory {
            try check(memory, count)
            return .host(HostBuffer(borrowing: memory, count: count)[...])
        }
        if request.isOfImage {
            let region = try request.region(size: size)
            guard let synchronization = synchronization(of: request, on: region.image.device) else {
                return .init(region)
            }
            return .init(region.synchronized(by: synchronization))
        }
        let slice = try request.slice(count: count)
        guard let synchronization = synchronization(of: request, on: slice.buffer.device) else { return .init(slice) }
        return .init(slice.synchronized(by: synchronization))
    }

    /// Memory does not wrap around.
    func check(_ memory: UnsafeRawPointer, _ length: Int) throws {
        guard !UInt(bitPattern: memory).addingReportingOverflow(UInt(length)).overflow else {
            throw Refusal(PENSTOCK_ERROR_INVALID_RANGE)
        }
    }
}

extension penstock_request {
    /// The bytes of the buffer that it names.
    func slice(count: Int) throws -> GPUBuffer.Slice {
        guard let hosted = Handles.buffers.find(buffer.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        guard let start = Int(exactly: buffer_offset), start <= hosted.buffer.count,
            count <= hosted.buffer.count - start
        else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        return hosted.buffer[start..<start + count]
    }

    /// When it gives up, counted from now.
    fileprivate var deadline: ContinuousClock.Instant? {
        timeout == 0 ? nil : .now + .nanoseconds(Int64(clamping: timeout))
    }
}

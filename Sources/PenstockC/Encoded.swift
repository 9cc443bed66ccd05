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
            try checkMemory(source, count)
            // Only read.
            let bytes = HostBuffer(borrowing: UnsafeMutableRawPointer(mutating: source), count: count)
            return (.memory(bytes[...]), nil)
        }
        guard let hosted = Handles.files.find(request.file.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        return (.file(hosted.file, request.offset, count: count), hosted)
    }

    private func taskPlace(of request: penstock_request, size: UInt64) throws -> DecodingRequest.Place {
        switch try request.target(size: size) {
        case .memory(let memory, let count): return .host(HostBuffer(borrowing: memory, count: count)[...])
        case .slice(let slice):
            let synchronization = synchronization(of: request, on: slice.buffer.device)
            return synchronization.map { .init(slice.synchronized(by: $0)) } ?? .init(slice)
        case .region(let region):
            let synchronization = synchronization(of: request, on: region.image.device)
            return synchronization.map { .init(region.synchronized(by: $0)) } ?? .init(region)
        }
    }
}

extension penstock_request {
    /// When it gives up, counted from now.
    fileprivate var deadline: ContinuousClock.Instant? {
        timeout == 0 ? nil : .now + .nanoseconds(Int64(clamping: timeout))
    }
}

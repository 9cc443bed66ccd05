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

    func codec(for request: penstock_request) throws -> any Codec {
        switch Int(request.compression) {
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

/// Where a request's bytes go, for the verbs that tasks use.
enum TaskPlace: Sendable {
    case memory(HostBuffer.Slice)
    case buffer(GPUBuffer.Slice)
    case image(GPUImage.Region)
}

extension HostedQueue {
    /// Enqueues a read that is decoded on its way. False: the queue is full.
    func enqueueEncoded(_ request: penstock_request, _ payload: HostRequest.Payload) throws -> Bool {
        // Writing compresses nothing.
        guard request.operation == UInt32(PENSTOCK_READ), request.source == nil else {
            throw Refusal(PENSTOCK_ERROR_NOT_SUPPORTED)
        }
        guard let file = Handles.files.find(request.file.id)?.file else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        let codec = try runtime.codecs.codec(for: request)
        guard let count = Int(exactly: request.size), count > 0, request.offset <= UInt64(Int64.max) - request.size
        else {
            throw Refusal(PENSTOCK_ERROR_INVALID_RANGE)
        }
        let place = try taskPlace(of: request, size: request.uncompressed_size)
        let (priority, tag, deadline) = (queue.configuration.priority, request.tag, request.deadline)
        let storage = runtime.queue
        return try enqueue(request, count, payload) { [offset = request.offset] () throws(StorageError) in
            switch place {
            case .memory(let slice):
                try await storage.read(
                    from: file, at: offset, count: count, into: slice, decoding: codec, priority: priority,
                    deadline: deadline, tag: tag)
            case .buffer(let slice):
                try await storage.read(
                    from: file, at: offset, count: count, into: slice, decoding: codec, priority: priority,
                    deadline: deadline, tag: tag)
            case .image(let region):
                try await storage.read(
                    from: file, at: offset, count: count, into: region, decoding: codec, priority: priority,
                    deadline: deadline, tag: tag)
            }
        }
    }

    /// Enqueues a copy of the host's memory into a buffer. False: the queue is full.
    func enqueueCopy(_ request: penstock_request, _ payload: HostRequest.Payload) throws -> Bool {
        guard request.operation == UInt32(PENSTOCK_READ), request.file.id == 0, let source = request.source else {
            throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        let place = try taskPlace(of: request, size: request.size)
        guard let count = Int(exactly: request.size) else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        if case .memory = place { throw Refusal(PENSTOCK_ERROR_NOT_SUPPORTED) }
        try check(source, count)
        // Only read.
        let bytes = HostBuffer(borrowing: UnsafeMutableRawPointer(mutating: source), count: count)
        let (priority, tag, deadline) = (queue.configuration.priority, request.tag, request.deadline)
        let (storage, synchronization) = (runtime.queue, request.synchronization)
        return try enqueue(request, count, payload) { () throws(StorageError) in
            switch place {
            case .memory: 0  // refused above
            case .buffer(let slice):
                try await storage.read(
                    from: bytes[...], into: slice, priority: priority, deadline: deadline, tag: tag,
                    synchronization: synchronization)
            case .image(let region):
                try await storage.read(
                    from: bytes[...], into: region, priority: priority, deadline: deadline, tag: tag,
                    synchronization: synchronization)
            }
        }
    }

    private func enqueue(
        _ request: penstock_request, _ length: Int, _ payload: HostRequest.Payload,
        _ perform: @escaping @Sendable () async throws(StorageError) -> Int
    ) throws -> Bool {
        let head = HostQueue.Head(
            isRead: true, offset: request.offset, length: length, tag: request.tag, payload: payload)
        let status = request.status
        return try queue.enqueue(head, accept: { status?.storeResult(code(PENSTOCK_PENDING)) }, perform: perform)
    }

    private func taskPlace(of request: penstock_request, size: UInt64) throws -> TaskPlace {
        guard let count = Int(exactly: size) else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        guard count > 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        if let memory = request.memory {
            try check(memory, count)
            return .memory(HostBuffer(borrowing: memory, count: count)[...])
        }
        if request.isOfImage { return .image(try request.region(size: size)) }
        guard let hosted = Handles.buffers.find(request.buffer.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        guard let start = Int(exactly: request.buffer_offset), start <= hosted.buffer.count,
            count <= hosted.buffer.count - start
        else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        return .buffer(hosted.buffer[start..<start + count])
    }

    /// Memory does not wrap around.
    func check(_ memory: UnsafeRawPointer, _ length: Int) throws {
        guard !UInt(bitPattern: memory).addingReportingOverflow(UInt(length)).overflow else {
            throw Refusal(PENSTOCK_ERROR_INVALID_RANGE)
        }
    }
}

extension penstock_request {
    /// What it waits for and whom it tells on the GPU; nil: nothing and nobody.
    var synchronization: GPUSynchronization? {
        let (after, signal) = (wait.points, signal.points)
        return after.isEmpty && signal.isEmpty ? nil : GPUSynchronization(after: after, signal: signal)
    }

    /// When it gives up, counted from now.
    fileprivate var deadline: ContinuousClock.Instant? {
        timeout == 0 ? nil : .now + .nanoseconds(Int64(clamping: timeout))
    }
}

extension penstock_point {
    fileprivate var points: [GPUSemaphorePoint] {
        OpaquePointer(bitPattern: UInt(semaphore)).map { [GPUSemaphorePoint($0, value)] } ?? []
    }
}

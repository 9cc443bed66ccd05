import CLinux
import Penstock

/// Chunks for a queue's workers to read and decode, in groups that are read together.
final class DecodeRun: PartedWork, @unchecked Sendable {  // outcomes have one writer each, and are read after the end
    /// How the chunks of a part ended.
    enum Outcome: Sendable {
        /// The workers were told not to begin.
        case untouched
        case done
        /// The bytes are not in the page cache, or cannot be had from there: the queue has to read them.
        case cold
        case failed(StorageError)
    }

    private let core: QueueCore
    /// Nil: what is done is part of something else, and counted there.
    private let workers: CodecWorkers?
    private let requests: [DecodingRequest]
    let parts: [DecodePart]
    let groups: [DecodeGroup]
    /// The bytes of the only group, if they have been read already.
    private let landed: UnsafeRawBufferPointer?
    private let outcomes: UnsafeMutableBufferPointer<Outcome>

    /// - Precondition: There is at least one group, and only one where its bytes have landed.
    init(
        _ requests: [DecodingRequest], _ parts: [DecodePart], _ groups: [DecodeGroup],
        landed: UnsafeRawBufferPointer? = nil, core: QueueCore, countedBy workers: CodecWorkers?,
        priority: StoragePriority, followsTask: Bool, tag: UInt64, deadline: ContinuousClock.Instant?
    ) {
        self.core = core
        self.workers = workers
        self.requests = requests
        self.parts = parts
        self.groups = groups
        self.landed = landed
        outcomes = .allocate(capacity: parts.count)
        outcomes.initialize(repeating: .untouched)
        super.init(partCount: groups.count, priority: priority, followsTask: followsTask, tag: tag, deadline: deadline)
    }

    deinit {
        outcomes.deinitialize()
        outcomes.deallocate()
    }

    /// How a part ended; once the run has.
    func outcome(of part: Int) -> Outcome { outcomes[part] }

    override func perform(_ index: Int, _ scratch: borrowing WorkerScratch) {
        let group = groups[index]
        if let landed { return decode(group, from: landed, scratch) }
        let file: StorageFile
        switch group.source {
        case .file(let source): file = source
        case .memory(let source):
            // It lies inside: the request has been checked.
            let bytes = UnsafeRawBufferPointer(start: source.address! + Int(group.offset), count: group.count)
            return decode(group, from: bytes, scratch)
        }
        // What is stored as it is wanted needs no detour.
        if group.parts.count == 1, parts[group.parts.lowerBound].isPlain {
            let destination = UnsafeMutableRawBufferPointer(
                start: parts[group.parts.lowerBound].destination, count: group.count)
            return end(group, core.readCached(file, at: group.offset, into: destination)) { _ in
                self.decode(group, from: UnsafeRawBufferPointer(destination), scratch)
            }
        }
        guard group.count <= DecodingRequest.largestChunk else { return end(group, nil) { _ in } }
        scratch.encoded.withBytes(group.count) { bytes in
            end(group, core.readCached(file, at: group.offset, into: bytes)) { count in
                self.decode(group, from: UnsafeRawBufferPointer(rebasing: bytes[0..<count]), scratch)
            }
        }
    }

    private func end(_ group: DecodeGroup, _ count: Int?, _ decode: (Int) -> Void) {
        guard let count else {
            for part in group.parts { outcomes[part] = .cold }
            return
        }
        decode(count)
    }

    /// Decodes what has landed of a group.
    private func decode(_ group: DecodeGroup, from bytes: UnsafeRawBufferPointer, _ scratch: borrowing WorkerScratch) {
        let begin = linux_monotonic_ns()
        var tally = DecodingStatistics.Work()
        for index in group.parts {
            let part = parts[index]
            do throws(StorageError) {
                try decode(part, group, from: bytes, scratch)
                outcomes[index] = .done
                guard !part.chunk.isStored else { continue }
                tally.chunks += 1
                tally.encodedBytes += UInt64(part.chunk.count)
                tally.decodedBytes += UInt64(part.chunk.decodedCount)
            } catch {
                outcomes[index] = .failed(error)
            }
        }
        tally.nanoseconds = linux_monotonic_ns() - begin
        guard let workers, tally.chunks > 0 else { return }
        workers.counters.add(tally)
        // What only the workers can do says nothing of how a GPU compares.
        if requests[parts[group.parts.lowerBound].request].codec.isGDeflatePages { workers.chooser.noteWorkers(tally) }
    }

    private func decode(
        _ part: DecodePart, _ group: DecodeGroup, from bytes: UnsafeRawBufferPointer, _ scratch: borrowing WorkerScratch
    ) throws(StorageError) {
        let request = requests[part.request]
        let start = Int(part.chunk.offset - group.offset)
        guard start + part.chunk.count <= bytes.count else {
            throw request.error(.malformedData, at: part.chunk, "the file ends within the chunk")
        }
        let encoded = UnsafeRawBufferPointer(rebasing: bytes[start..<start + part.chunk.count])
        try request.check(encoded, of: part.chunk)
        guard part.isPossible else {
            throw request.error(
                .memoryLimit, at: part.chunk,
                "parts can be had of chunks of \(DecodingRequest.largestChunk) bytes at most; encode smaller ones")
        }
        do throws(CodecError) {
            try part.decode(encoded, request.codec, scratch)
        } catch {
            throw request.error(.malformedData, at: part.chunk, underlying: error)
        }
    }
}

extension DecodingRequest {
    fileprivate func check(_ bytes: UnsafeRawBufferPointer, of chunk: EncodedChunk) throws(StorageError) {
        guard let hash, let checksum = chunk.checksum else { return }
        guard hash(RawSpan(_unsafeBytes: bytes)) == checksum else { throw error(.checksumMismatch, at: chunk) }
    }
}

extension DecodePart {
    /// Whether a worker can have as much memory as the chunk needs.
    fileprivate var isPossible: Bool {
        chunk.isStored || goesStraight || chunk.decodedCount <= DecodingRequest.largestChunk
    }

    /// Puts what is wanted of the chunk where it goes.
    fileprivate func decode(
        _ encoded: UnsafeRawBufferPointer, _ codec: any Codec, _ scratch: borrowing WorkerScratch
    ) throws(CodecError) {
        if chunk.isStored {
            // They are there already if they were read so.
            if encoded.baseAddress != UnsafeRawPointer(destination), let source = encoded.baseAddress {
                destination.copyMemory(from: source + wanted.lowerBound, byteCount: wanted.count)
            }
        } else if goesStraight {
            try codec.decode(encoded, into: UnsafeMutableRawBufferPointer(start: destination, count: wanted.count))
        } else {
            let result = scratch.decoded.withBytes(chunk.decodedCount) { bytes in
                Result { () throws(CodecError) in
                    try codec.decode(encoded, into: bytes)
                    destination.copyMemory(from: bytes.baseAddress! + wanted.lowerBound, byteCount: wanted.count)
                }
            }
            try result.get()
        }
    }
}

extension Codec {
    fileprivate func decode(
        _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        // The memory is the workers' until the call that it belongs to has returned.
        var span = MutableRawSpan(_unsafeBytes: destination)
        try decode(RawSpan(_unsafeBytes: source), into: &span)
    }
}

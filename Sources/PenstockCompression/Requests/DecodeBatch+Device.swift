import CLinux
import Penstock
import Synchronization

/// Neighbouring chunks that a device decodes in one request.
struct DeviceRun: Sendable {
    let request: Int
    /// The places of its chunks in the request's.
    let chunks: Range<Int>
    /// The bytes of the request's destination that it fills.
    let range: Range<Int>
    /// The device's driver decodes them: each chunk's checksum is verified before.
    let isDecompressed: Bool
}

extension DecodeBatch {
    /// Encoded bytes of a run, at most: several travel at once.
    private static let largestRun = 4 << 20
    /// Runs on their way at once, for each call.
    private static let runsAhead = 4

    /// What of a request's destination the workers are to fill; adds what its device is to.
    func stretches(of index: Int, _ runs: inout [DeviceRun]) throws(StorageError) -> [Range<Int>] {
        let request = requests[index]
        let all = 0..<request.range.count
        guard case .device(let slice, .some) = request.place, request.codec.isGDeflatePages, !all.isEmpty else {
            return [all]
        }
        if let problem = slice.problem { throw problem }
        let device = slice.memory.sinkDevice
        // In this order: to find out what a device can takes as long as making a shader.
        guard workers.chooser.choosesGPU(request.processor, bytes: all.count, isHost: device.isHost),
            device.canDecode(SinkDecoding.gdeflatePage)
        else { return [all] }
        let decompresses =
            request.hash != nil && workers.chooser.policy.allowsMemoryDecompression
            && device.decompresses(SinkDecoding.gdeflatePage)
        var left: [Range<Int>] = []
        var start = -request.range.lowerBound
        for (place, chunk) in request.chunks.enumerated() {
            let range = start..<start + chunk.decodedCount
            start = range.upperBound
            if range.upperBound <= 0 || range.isEmpty { continue }
            if range.lowerBound >= all.upperBound { break }
            if range.lowerBound >= 0, range.upperBound <= all.upperBound, chunk.isPage {
                let run = DeviceRun(
                    request: index, chunks: place..<place + 1, range: range,
                    isDecompressed: decompresses && chunk.checksum != nil)
                append(run, to: &runs)
            } else {
                let part = range.clamped(to: all)
                if let last = left.last, last.upperBound == part.lowerBound {
                    left[left.count - 1] = last.lowerBound..<part.upperBound
                } else {
                    left.append(part)
                }
            }
        }
        return left
    }

    /// Adds a run of one chunk, to the last run if it is its neighbour and of its kind.
    private func append(_ run: DeviceRun, to runs: inout [DeviceRun]) {
        let chunks = requests[run.request].chunks
        let place = run.chunks.lowerBound
        if let last = runs.last, last.request == run.request, last.chunks.upperBound == place,
            last.range.upperBound == run.range.lowerBound, last.isDecompressed == run.isDecompressed
        {
            let (first, before, chunk) = (chunks[last.chunks.lowerBound], chunks[place - 1], chunks[place])
            let end = before.offset + UInt64(before.count)
            if chunk.offset >= end, chunk.offset - end <= UInt64(DecodeGroup.largestGap),
                Int(chunk.offset - first.offset) + chunk.count <= Self.largestRun
            {
                runs[runs.count - 1] = DeviceRun(
                    request: run.request, chunks: last.chunks.lowerBound..<place + 1,
                    range: last.range.lowerBound..<run.range.upperBound, isDecompressed: run.isDecompressed)
                return
            }
        }
        runs.append(run)
    }

    /// Has devices decode runs, some at once.
    func decodeOnDevice(_ runs: [DeviceRun]) async -> [Failure] {
        await each(runs.count, atOnce: Self.runsAhead) { index in
            guard let failures = over.failures(unlessOver: [runs[index].request]) else {
                return await decode(runs[index])
            }
            return failures
        }
    }

    private func decode(_ run: DeviceRun) async -> [Failure] {
        do throws(StorageError) {
            try await decodeThere(run)
            return []
        } catch  where Self.isForWorkers(error.code) {
            let failures = await decodeHere(run)
            // A damaged file is not the device's fault.
            if error.code != .malformedData || failures.isEmpty { workers.chooser.noteFailure() }
            return failures
        } catch {
            return [(run.request, error)]
        }
    }

    /// What a device says when it has given up or has no memory, which the workers may well have, or that a page is
    /// malformed: they find out which, and why, and whether it is true.
    private static func isForWorkers(_ code: StorageError.Code) -> Bool {
        [.unavailable, .notSupported, .deviceMemory, .device, .malformedData].contains(code)
    }

    private func decodeHere(_ run: DeviceRun) async -> [Failure] {
        let request = requests[run.request]
        var parts: [DecodePart] = []
        do throws(StorageError) {
            guard try request.collectParts(run.request, run.range, into: &parts) else {
                return await fill([(run.request, run.range)])
            }
        } catch {
            return [(run.request, error)]
        }
        return await decode(parts, manner(of: request))
    }

    private func decodeThere(_ run: DeviceRun) async throws(StorageError) {
        let request = requests[run.request]
        let chunks = request.chunks[run.chunks]
        let (offset, last) = (chunks.first!.offset, chunks.last!)
        let byteCount = Int(last.offset - offset) + last.count
        var pages: [SinkDecoding.Page] = []
        var destination = 0
        for chunk in chunks where chunk.decodedCount > 0 {
            pages.append(
                .init(
                    start: Int(chunk.offset - offset), count: chunk.count, destination: destination,
                    decodedCount: chunk.decodedCount))
            destination += chunk.decodedCount
        }
        guard case .device(_, let makeSlice?) = request.place,
            let decoding = SinkDecoding(
                format: SinkDecoding.gdeflatePage, pages: pages, byteCount: byteCount,
                destinationCount: run.range.count, isVerified: run.isDecompressed)
        else { throw request.error(.malformedData, at: chunks.first) }
        let slice = try makeSlice(run.range, decoding)
        let options = request.options
        if request.hash == nil, let file = request.file {
            let count = try await queue.core.read(file, offset, into: slice, options)
            guard count == byteCount else {
                throw request.error(.malformedData, at: last, "the file ends within the chunk")
            }
        } else {
            // Memory is copied by the workers, too.
            try await check(run, slice, from: offset, options)
        }
        let work = DecodingStatistics.Work(
            chunks: UInt64(pages.count), encodedBytes: UInt64(byteCount), decodedBytes: UInt64(run.range.count),
            nanoseconds: decoding.deviceNanoseconds.load(ordering: .relaxed))
        workers.counters.add(work, onGPU: true, isDecompressed: run.isDecompressed)
        workers.chooser.noteGPU(work, wasChosen: (request.processor ?? workers.chooser.policy.processor) == .automatic)
    }

    /// Reads a run into staging memory and has the workers check its chunks there, before the device gets them.
    private func check(
        _ run: DeviceRun, _ slice: SinkSlice, from offset: UInt64, _ options: RequestOptions
    ) async throws(StorageError) {
        let request = requests[run.request]
        var manner = manner(of: request)
        manner.isCheck = true
        // Whether a request has failed is found out by who decodes it.
        let batch = apart()
        do throws(StorageError) {
            try await workers.withBatch(batch.over) { [manner] () throws(StorageError) in
                _ = try await queue.core.fill(slice, options) { memory, range throws(StorageError) in
                    // As if they were stored chunks, which are wanted in staging memory as they are.
                    let end = offset + UInt64(range.upperBound)
                    let stored = request.chunks[run.chunks].filter {
                        $0.offset >= offset + UInt64(range.lowerBound) && $0.offset + UInt64($0.count) <= end
                    }.map { chunk in
                        var chunk = chunk
                        chunk.isStored = true
                        chunk.decodedCount = chunk.count
                        return chunk
                    }
                    let parts = stored.map { chunk in
                        DecodePart(
                            request: run.request, chunk: chunk, wanted: 0..<chunk.count,
                            destination: memory + Int(chunk.offset - offset) - range.lowerBound, reach: .host)
                    }
                    if let failure = await batch.decode(parts, manner).first { throw failure.error }
                }
            }
        } catch {
            guard error.path == nil else { throw error }
            // What the device says of its pages names no file.
            throw request.error(
                error.code, at: request.chunks[run.chunks.lowerBound], error.message, underlying: error.underlying)
        }
    }
}

extension Codec {
    var isGDeflatePages: Bool { (self as? GDeflate)?.framing == .page }
}

extension EncodedChunk {
    /// Whether a device can decode it.
    fileprivate var isPage: Bool {
        !isStored && (1...SinkDecoding.mostEncodedBytes).contains(count) && decodedCount <= SinkDecoding.pageSize
    }
}

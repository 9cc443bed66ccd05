import Penstock
import Synchronization

/// One call's requests on their way.
struct DecodeBatch: Sendable {
    /// Reads from a disk that are in flight or wait to be decoded, at most, for each call.
    private static let readAhead = 16

    /// What requests must share to be done together.
    struct Manner: Hashable {
        var priority: StoragePriority
        /// The priority is the task's own, and rises with it.
        var followsTask: Bool
        var tag: UInt64
        var deadline: ContinuousClock.Instant?
        /// Nothing is decoded, only checked and brought to where it is decoded.
        var isCheck = false
    }

    let requests: [DecodingRequest]
    let queue: StorageQueue
    let workers: CodecWorkers
    /// The requests of which nothing more needs to be done.
    let over: RequestsOver
    private let taskPriority: StoragePriority

    init(_ requests: [DecodingRequest], _ queue: StorageQueue, _ workers: CodecWorkers) {
        self.init(requests, queue, workers, StoragePriority(Task.currentPriority))
    }

    private init(
        _ requests: [DecodingRequest], _ queue: StorageQueue, _ workers: CodecWorkers, _ taskPriority: StoragePriority
    ) {
        self.requests = requests
        self.queue = queue
        self.workers = workers
        self.taskPriority = taskPriority
        over = RequestsOver(requests)
    }

    /// The same requests, none of them over: what fails in it is not a failure of this batch, unless its caller says so.
    func apart() -> DecodeBatch { DecodeBatch(requests, queue, workers, taskPriority) }

    func results() async -> [Result<Int, StorageError>] {
        await workers.withBatch(over) { await unregisteredResults() }
    }

    private func unregisteredResults() async -> [Result<Int, StorageError>] {
        var results = requests.map { Result<Int, StorageError>.success($0.place.count) }
        var parts: [Manner: [DecodePart]] = [:]
        var staged: [(request: Int, range: Range<Int>)] = []
        var onDevice: [DeviceRun] = []
        for (index, request) in requests.enumerated() {
            do throws(StorageError) {
                try request.check()
                let stretches = try stretches(of: index, &onDevice)
                let starts = stretches.count > 1 ? ChunkStarts(request.chunks) : nil
                for stretch in stretches {
                    let isSeen = try request.collectParts(
                        index, stretch, starts, into: &parts[manner(of: request), default: []])
                    if !isSeen { staged.append((index, stretch)) }
                }
            } catch {
                results[index] = .failure(error)
            }
        }
        var failures: [Failure] = []
        if onDevice.isEmpty {
            failures = await decode(parts)
            if !staged.isEmpty { failures += await fill(staged) }
        } else {
            // Both kinds of processor at once.
            async let others = decodeOnDevice(onDevice)
            failures = await decode(parts)
            if !staged.isEmpty { failures += await fill(staged) }
            failures += await others
        }
        for (index, error) in failures {
            if case .success = results[index] { results[index] = .failure(error) }
        }
        for (index, request) in requests.enumerated() {
            // Whether it was written by the host is of no interest to memory that the device and the host see alike.
            if case .device(let slice, _) = request.place, slice.mapped != nil,
                case .success(let count) = results[index]
            {
                slice.memory.hostDidWrite(count, at: slice.offset)
            }
        }
        return results
    }

    func manner(of request: DecodingRequest) -> Manner {
        Manner(
            priority: request.priority ?? taskPriority, followsTask: request.priority == nil, tag: request.tag,
            deadline: request.deadline)
    }

    // MARK: Into memory that the host sees

    /// A request's place in the batch, and why it has failed.
    typealias Failure = (request: Int, error: StorageError)

    private func decode(_ parts: [Manner: [DecodePart]]) async -> [Failure] {
        let all = parts.filter { !$0.value.isEmpty }
        if all.count == 1, let (manner, parts) = all.first { return await decode(parts, manner) }
        return await withTaskGroup { group in
            for (manner, parts) in all { group.addTask { await decode(parts, manner) } }
            return await group.reduce(into: []) { $0 += $1 }
        }
    }

    /// Decodes what is in the page cache, then reads and decodes the rest.
    func decode(_ parts: [DecodePart], _ manner: Manner) async -> [Failure] {
        let run = makeRun(parts, grouped(parts), manner)
        await workers.run(run)
        var failures: [Failure] = []
        var cold: [DecodeGroup] = []
        for group in run.groups { note(group, of: run, &failures, &cold) }
        if !cold.isEmpty { failures += await read(cold, of: parts, manner) }
        return failures
    }

    private func grouped(_ parts: [DecodePart]) -> [DecodeGroup] {
        var groups: [DecodeGroup] = []
        for (index, part) in parts.enumerated() {
            let source = requests[part.request].source
            if !groups.isEmpty, groups[groups.count - 1].append(part, of: source) { continue }
            groups.append(DecodeGroup(part, at: index, of: source))
        }
        return groups
    }

    func makeRun(
        _ parts: [DecodePart], _ groups: [DecodeGroup], _ manner: Manner, landed: UnsafeRawBufferPointer? = nil
    ) -> DecodeRun {
        DecodeRun(
            requests, parts, groups, landed: landed, core: queue.core,
            countedBy: manner.isCheck ? nil : workers, priority: manner.priority, followsTask: manner.followsTask,
            tag: manner.tag, deadline: manner.deadline)
    }

    /// Sorts out what has become of a group.
    private func note(
        _ group: DecodeGroup, of run: DecodeRun, _ failures: inout [Failure], _ cold: inout [DecodeGroup]
    ) {
        var isCold = false
        let before = failures.count
        for index in group.parts {
            let request = run.parts[index].request
            switch run.outcome(of: index) {
            case .done: continue
            case .cold: isCold = true
            case .failed(let error): failures.append((request, error))
            case .untouched:
                let code = run.refused ?? .cancelled
                failures.append((request, requests[request].error(code, at: run.parts[index].chunk)))
            }
        }
        for failure in failures[before...] { over.end(failure.request) }
        if isCold { cold.append(group) }
    }

    // MARK: From the disk

    /// Reads groups through the queue, some ahead, and has each decoded when it is there.
    private func read(_ cold: [DecodeGroup], of parts: [DecodePart], _ manner: Manner) async -> [Failure] {
        await each(cold.count, atOnce: Self.readAhead) { index in
            // What one group needs is all that it is told of: the others may be many.
            let own = Array(parts[cold[index].parts])
            guard let failures = over.failures(unlessOver: own.map(\.request)) else {
                return await read(cold[index].alone, of: own, manner)
            }
            return failures
        }
    }

    /// Calls `body` with each number below `count`, some at once, and gathers what has failed.
    func each(
        _ count: Int, atOnce: Int, _ body: @escaping @Sendable (Int) async -> [Failure]
    ) async -> [Failure] {
        let next = Counter()
        return await withTaskGroup { group in
            for _ in 0..<min(count, atOnce) {
                group.addTask {
                    var failures: [Failure] = []
                    while let index = next.take(below: count) {
                        let more = await body(index)
                        for failure in more { over.end(failure.request) }
                        failures += more
                    }
                    return failures
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
    }

    private func read(_ group: DecodeGroup, of parts: [DecodePart], _ manner: Manner) async -> [Failure] {
        let first = parts[group.parts.lowerBound]
        // Memory is never cold.
        guard let file = requests[first.request].file else { return [] }
        do throws(StorageError) {
            if group.parts.count == 1, first.isPlain {
                let destination = UnsafeMutableRawBufferPointer(start: first.destination, count: group.count)
                // The caller's memory, which it has lent until its call returns.
                var span = MutableRawSpan(_unsafeBytes: destination)
                let count = try await queue.read(
                    from: file, at: group.offset, into: &span,
                    priority: manner.followsTask ? nil : manner.priority, deadline: manner.deadline, tag: manner.tag)
                return await decode(group, of: parts, manner, UnsafeRawBufferPointer(rebasing: destination[0..<count]))
            }
            guard group.count <= DecodingRequest.largestChunk else {
                throw requests[first.request].error(
                    .memoryLimit, at: first.chunk,
                    "chunks of more than \(DecodingRequest.largestChunk) bytes cannot be read; encode smaller ones")
            }
            let landing = HostBuffer(
                block: try await queue.core.take(
                    group.count, from: workers.landing, path: file.path, deadline: manner.deadline),
                count: group.count, arena: workers.landing)
            let count = try await queue.read(
                from: file, at: group.offset, into: landing[...],
                priority: manner.followsTask ? nil : manner.priority, deadline: manner.deadline, tag: manner.tag)
            // The memory goes back when the run has ended.
            defer { withExtendedLifetime(landing) {} }
            let bytes = landing.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[0..<count]) }
            return await decode(group, of: parts, manner, bytes)
        } catch {
            return await fail(group, of: parts, manner, error)
        }
    }

    private func decode(
        _ group: DecodeGroup, of parts: [DecodePart], _ manner: Manner, _ bytes: UnsafeRawBufferPointer
    ) async -> [Failure] {
        let run = makeRun(parts, [group], manner, landed: bytes)
        await workers.run(run)
        var failures: [Failure] = []
        var cold: [DecodeGroup] = []
        note(group, of: run, &failures, &cold)
        return failures
    }

    /// A read has failed. What is wrong with one chunk's place on the disk is not its neighbours' fault.
    private func fail(
        _ group: DecodeGroup, of parts: [DecodePart], _ manner: Manner, _ error: StorageError
    ) async -> [Failure] {
        let isOwn = [.cancelled, .deadlineExceeded, .queueClosed, .fileClosed, .foreignFile].contains(error.code)
        if isOwn || group.parts.count == 1 {
            return group.parts.map { index in
                let chunk = parts[index].chunk
                let ofChunk = StorageError(
                    error.code, .read, path: error.path ?? group.source.path, offset: chunk.offset, length: chunk.count,
                    errno: error.errno, message: error.message, underlying: error.underlying)
                return (parts[index].request, ofChunk)
            }
        }
        var failures: [Failure] = []
        for index in group.parts {
            failures += await read(DecodeGroup(parts[index], at: index, of: group.source), of: parts, manner)
        }
        return failures
    }
}

/// Numbers from zero on, each handed out once.
final class Counter: Sendable {
    private let next = Atomic<Int>(0)

    func take(below end: Int) -> Int? {
        let number = next.add(1, ordering: .relaxed).oldValue
        return number < end ? number : nil
    }
}

extension DecodingRequest {
    /// Adds the parts for a range of the request's destination, if the host sees it. False: it does not.
    func collectParts(
        _ index: Int, _ stretch: Range<Int>, _ starts: ChunkStarts? = nil, into parts: inout [DecodePart]
    ) throws(StorageError) -> Bool {
        switch place {
        case .host(let slice):
            guard let address = slice.address else {
                throw error(
                    .invalidRange, "the slice \(slice.range) lies outside its buffer of \(slice.buffer.count) bytes")
            }
            self.parts(for: stretch, index, at: address + stretch.lowerBound, .host, starts, into: &parts)
            return true
        case .device(let slice, _):
            if let problem = slice.problem { throw problem }
            guard let address = slice.mapped else { return false }
            let reach: DecodePart.Reach = slice.memory.isReadable ? .mapped : .writeCombined
            self.parts(for: stretch, index, at: address + stretch.lowerBound, reach, starts, into: &parts)
            return true
        }
    }
}

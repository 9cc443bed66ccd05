extension StorageQueue {
    /// Performs many requests with one suspension, each with its own result.
    ///
    /// Requests are issued by priority, in order within one. What is in the page cache is read on the caller's own thread
    /// as long as that is little; the rest goes to the ring, a thousand at a time. Cancelling the task cancels all of them.
    ///
    /// - Returns: A result for each request, in the order given: the bytes moved, or the error.
    /// - Complexity: O(*n*). Of heap memory, only the result array is allocated, once the queue has warmed up;
    ///   ``perform(_:into:label:)`` does not even do that.
    public nonisolated func perform(
        _ requests: [StorageRequest], label: String? = nil
    ) async -> [Result<Int, StorageError>] {
        var results: [Result<Int, StorageError>] = []
        await perform(requests, into: &results, label: label)
        return results
    }

    /// Performs many requests with one suspension, putting the results into an array that may be used again.
    ///
    /// - Parameters:
    ///   - requests: What to do.
    ///   - results: Emptied first; then holds a result for each request, in the order given.
    ///   - label: The batch's name in traces.
    public nonisolated func perform(
        _ requests: [StorageRequest], into results: inout [Result<Int, StorageError>], label: String? = nil
    ) async {
        results.removeAll(keepingCapacity: true)
        results.reserveCapacity(requests.count)
        var apart: [Int] = []
        var next = 0
        // Several reads' worth: what is cached is cheaper here than anywhere, but the caller's thread has other tasks.
        var inlineBudget = 4 * core.inlineLimit
        // What lands in staging memory goes to its device while the next requests are read, a little at a time, so that
        // it is still in the processor's cache when it is copied.
        var ahead = Ahead()
        var waiting: [Submission] = []
        while next < requests.count {
            let made = core.makeBatch(requests, from: &next, into: &results, &inlineBudget, hasOthers: !ahead.isEmpty)
            made.forEach { $0.label = label }
            if next == requests.count, ahead.isEmpty, waiting.isEmpty, let only = made.only {
                await core.run(only)
                settle(only, requests, &results, &apart)
                break
            }
            made.forEach { core.start($0) }
            let oldest = made.landed.map { ahead.push($0) } ?? (made.isStarved ? ahead.pop() : nil)
            if let oldest { await finish(oldest, requests, &results, &apart) }
            if let slow = made.waiting { waiting.append(slow) }
        }
        while let oldest = ahead.pop() { await finish(oldest, requests, &results, &apart) }
        for batch in waiting { await finish(batch, requests, &results, &apart) }
        if !apart.isEmpty { await performApart(apart, of: requests, into: &results, label: label) }
        withExtendedLifetime(requests) {}
    }

    /// Batches that are on their way while the next ones are read: a fixed few, with no memory of their own.
    private struct Ahead {
        private var batches = InlineArray<3, Submission?>(repeating: nil)
        private var first = 0
        private var count = 0

        var isEmpty: Bool { count == 0 }

        /// Adds a batch; returns the oldest one if there were enough without it.
        mutating func push(_ batch: Submission) -> Submission? {
            let oldest = count == batches.count ? pop() : nil
            batches[(first + count) % batches.count] = batch
            count += 1
            return oldest
        }

        mutating func pop() -> Submission? {
            guard count > 0 else { return nil }
            defer {
                batches[first] = nil
                first = (first + 1) % batches.count
                count -= 1
            }
            return batches[first]
        }
    }

    private nonisolated func finish(
        _ batch: Submission, _ requests: [StorageRequest], _ results: inout [Result<Int, StorageError>],
        _ apart: inout [Int]
    ) async {
        await core.wait(for: batch)
        settle(batch, requests, &results, &apart)
    }

    /// Takes the results of a batch that has ended; notes in `apart` what is to be done again.
    private nonisolated func settle(
        _ batch: Submission, _ requests: [StorageRequest], _ results: inout [Result<Int, StorageError>],
        _ apart: inout [Int]
    ) {
        for index in 0..<batch.count {
            let record = batch.records[index]
            if !requests[Int(record.index)].settleMapped(record) {
                apart.append(Int(record.index))
            } else if record.mergedCount == 1 {
                results[Int(record.index)] = Self.result(of: record, in: requests, after: results[Int(record.index)])
            } else if record.outcome.failure == .none {
                record.distribute(over: requests) { results[$0] = .success($1) }
            } else if [.cancelled, .deadlineExceeded, .queueClosed].contains(record.outcome.failure) {
                // Asked for: each of them has ended, and must not be begun again.
                for place in record.index..<record.index + record.mergedCount {
                    var part = record
                    part.index = place
                    results[Int(place)] = Self.result(of: part, in: requests, after: .success(0))
                }
            } else {
                apart += Int(record.index)..<Int(record.index + record.mergedCount)
            }
        }
        core.reclaim(batch)
        core.pool.giveBack(batch)
    }

    /// Performs again, each for itself, requests that failed together: the neighbour of a bad block may be good.
    private nonisolated func performApart(
        _ indexes: [Int], of requests: [StorageRequest], into results: inout [Result<Int, StorageError>], label: String?
    ) async {
        let again = indexes.map { requests[$0] }
        var resultsAgain: [Result<Int, StorageError>] = []
        var settled: [Int] = []
        let batch = core.makeBatch(again, into: &resultsAgain)
        batch.label = label
        if batch.count > 0 {
            await core.run(batch)
            settle(batch, again, &resultsAgain, &settled)
        } else {
            core.pool.giveBack(batch)
        }
        for (index, result) in zip(indexes, resultsAgain) { results[index] = result }
    }

    /// The result of a record, which continued what the inline path had read.
    static func result(
        of record: RequestRecord, in requests: [StorageRequest], after inline: Result<Int, StorageError>
    ) -> Result<Int, StorageError> {
        guard record.outcome.failure == .none else {
            let request = requests[Int(record.index)]
            return .failure(
                StorageError(
                    record.outcome, record.direction, request.file, offset: request.offset, length: request.count))
        }
        guard case .success(let count) = inline else { return inline }
        return .success(count + record.outcome.count)
    }
}

extension StorageRequest {
    /// Has the device see what the host has written of its memory. False: the kernel cannot write there, which the memory
    /// knows from now on, so that the request can be begun again and go through staging.
    func settleMapped(_ record: RequestRecord) -> Bool {
        guard record.mustBuffer, case .device(let slice) = place else { return true }
        if record.outcome.failure == .badAddress {
            slice.memory.refuseHostWrites()
            return false
        }
        if record.outcome.failure == .none { slice.memory.hostDidWrite(slice.count, at: slice.offset) }
        return true
    }
}

extension QueueCore {
    /// What has become of requests that are not done yet.
    struct Batch {
        /// Those that the ring thread has to read or write.
        var waiting: Submission?
        /// Those whose bytes are in staging memory, on their way to one device.
        var landed: Submission?
        /// There is no staging memory for the next request until an earlier batch has ended.
        var isStarved = false

        var only: Submission? { waiting == nil ? landed : landed == nil ? waiting : nil }

        func forEach(_ body: (Submission) -> Void) {
            if let landed { body(landed) }
            if let waiting { body(waiting) }
        }
    }

    /// Requests on their way into a batch.
    struct Making {
        let requests: [StorageRequest]
        /// The requests that this batch has at most.
        let capacity: Int
        /// Whether bytes may land in staging memory, and a record stand for several adjacent requests.
        let landsAndMerges: Bool
        /// Whether other batches of the call are on their way.
        let hasOthers: Bool
        let isCancelled = Task.isCancelled
        let taskPriority = StoragePriority(Task.currentPriority)
        var batch = Batch()
        /// Bytes that may be read on the caller's thread.
        var inlineBudget: Int
        /// Bytes left in the staging memory of what lands.
        var room = 0
        /// Whether the next request is another batch's.
        var isFull = false
        /// Whether the request has found no place here and is to be made again in the next batch.
        var isSentBack = false
    }

    /// A batch of all requests, none of which lands on the caller's thread.
    func makeBatch(_ requests: [StorageRequest], into results: inout [Result<Int, StorageError>]) -> Submission {
        var next = 0
        let making = Making(
            requests: requests, capacity: requests.count, landsAndMerges: false, hasOthers: false,
            inlineBudget: 4 * inlineLimit)
        return makeBatch(making, from: &next, into: &results).batch.waiting ?? pool.take(2)
    }

    /// What is read into staging memory at a time on a caller's thread: as much as a processor's second cache holds, for
    /// each submission costs as much as copying a tenth of it.
    private static let landingBytes = 1 << 20

    /// A batch of the requests from `next` on, until so much has landed in staging memory that it should go on.
    func makeBatch(
        _ requests: [StorageRequest], from next: inout Int, into results: inout [Result<Int, StorageError>],
        _ inlineBudget: inout Int, hasOthers: Bool
    ) -> Batch {
        // No more than the pool keeps: however many requests there are, the next call finds its memory there.
        let capacity = min(requests.count - next, SubmissionPool.largestKeptBatch)
        let made = makeBatch(
            Making(
                requests: requests, capacity: capacity, landsAndMerges: true, hasOthers: hasOthers,
                inlineBudget: inlineBudget),
            from: &next, into: &results)
        inlineBudget = made.inlineBudget
        return made.batch
    }

    /// Checks the requests, reads inline what is cached, and collects the rest into submissions. `results` then holds
    /// the result of what is done, and what the inline path has read of what is not.
    private func makeBatch(
        _ making: consuming Making, from next: inout Int, into results: inout [Result<Int, StorageError>]
    ) -> Making {
        let end = next + making.capacity
        while next < end, !making.isFull {
            do throws(StorageError) {
                results.append(.success(try add(making.requests[next], next, to: &making)))
            } catch {
                results.append(.failure(error))
            }
            if making.isSentBack { results.removeLast() } else { next += 1 }
        }
        making.batch.waiting?.sortByPriority()
        return making
    }

    /// Does what can be done of a request at once, and adds the rest to the batch. Returns the bytes done.
    private func add(
        _ request: borrowing StorageRequest, _ index: Int, to making: inout Making
    ) throws(StorageError) -> Int {
        let isRead = request.direction == .read
        let slice: HostBuffer.Slice
        switch request.place {
        case .host(let host): slice = host
        case .device(let device): return try add(request, device, index, to: &making)
        }
        let transfer = try Transfer(isRead ? .read : .write, request.file, request.offset, slice, core: self)
        guard !making.isCancelled else { throw cancelled(transfer, isRead ? .read : .write) }
        guard transfer.length > 0 else { return 0 }
        let priority = request.priority ?? making.taskPriority
        var inline = InlineResult.nothing
        if isRead, making.inlineBudget > 0 {
            inline = try readCached(transfer, priority)
            making.inlineBudget -= inline.count
            if inline.isComplete { return inline.count }
        }
        var record = RequestRecord(
            isRead ? .read : .write, file: transfer.file, address: transfer.address + inline.count,
            offset: transfer.offset + UInt64(inline.count), length: transfer.length - inline.count, priority: priority)
        record.slab = transfer.slab
        record.isCold = inline.isCold
        fill(&record, request, index)
        let isDirect = transfer.file.caching == .direct || (inline.isCold && transfer.file.caching == .automatic)
        record.mayMerge =
            making.landsAndMerges && isRead && isDirect && inline.count == 0 && record.deadline == .max
        let batch = waiting(&making)
        if batch.count > 0, batch.records[batch.count - 1].absorb(record, limit: configuration.pieceSize) {
            return inline.count
        }
        batch.append(record)
        return inline.count
    }

    /// The same for a request whose bytes go to a device's memory or come from it.
    private func add(
        _ request: borrowing StorageRequest, _ slice: SinkSlice, _ index: Int, to making: inout Making
    ) throws(StorageError) -> Int {
        let isRead = request.direction == .read
        var transfer = try Transfer(isRead ? .read : .write, request.file, request.offset, slice, core: self)
        guard !making.isCancelled else { throw cancelled(transfer, isRead ? .read : .write) }
        guard transfer.length > 0 else { return 0 }
        let priority = request.priority ?? making.taskPriority
        var record = RequestRecord(
            isRead ? .read : .write, file: transfer.file, address: transfer.address, offset: transfer.offset,
            length: transfer.length, priority: priority)
        fill(&record, request, index)
        var done = 0
        var memory = isRead && transfer.file.caching != .direct ? slice.mapped : nil
        if let start = memory, making.inlineBudget > 0 {
            transfer.address = start
            do throws(StorageError) {
                let inline = try readCached(transfer, priority)
                done = inline.count
                making.inlineBudget -= done
                if inline.isComplete {
                    slice.memory.hostDidWrite(done, at: slice.offset)
                    return done
                }
            } catch  where error.code == .badAddress {
                slice.memory.refuseHostWrites()
                memory = nil
            }
        }
        if let memory {
            record.address = memory + done
            record.offset += UInt64(done)
            record.length -= done
            record.end = record.length
            record.mustBuffer = true
        } else {
            let sink = try sinkIndex(of: slice)
            record.sink = Int8(sink)
            record.target = slice.target
            if isRead, making.landsAndMerges, try land(&record, transfer, slice, sink, &making) { return 0 }
        }
        waiting(&making).append(record)
        return done
    }

    private func fill(
        _ record: inout RequestRecord, _ request: borrowing StorageRequest, _ index: Int
    ) {
        record.followsTask = request.priority == nil
        record.tag = request.tag
        record.index = Int32(index)
        if let deadline = request.deadline { record.deadline = RequestOptions.nanoseconds(until: deadline) }
    }

    private func waiting(_ making: inout Making) -> Submission {
        if let waiting = making.batch.waiting { return waiting }
        let batch = pool.take(max(making.capacity, 2))
        making.batch.waiting = batch
        return batch
    }

    /// Reads what is in the page cache to the next free place of the batch's staging memory. False: it is not cached, or
    /// the place is full, which the batch then notes.
    private func land(
        _ record: inout RequestRecord, _ transfer: Transfer, _ slice: SinkSlice, _ sink: Int, _ making: inout Making
    ) throws(StorageError) -> Bool {
        guard canLand(transfer, slice), slice.options?.isSynchronized != true else { return false }
        let alignment = slice.options?.layout?.offsetAlignment ?? 1
        guard let landing = making.batch.landed?.landing ?? startLanding(transfer, sink, &making),
            let block = landing.block
        else {
            // The call's own batches will give memory back; to read on the ring thread meanwhile would cost more.
            guard making.hasOthers else { return false }
            making.batch.isStarved = true
            making.isFull = true
            making.isSentBack = true
            return true
        }
        let used = block.capacity - making.room
        let start = (used + Self.landingAlignment - 1) / Self.landingAlignment * Self.landingAlignment
        guard landing.sink == sink, start + transfer.length <= block.capacity,
            Self.landingAlignment % alignment == 0 || start == 0
        else {
            making.isFull = true
            making.isSentBack = true
            return true
        }
        var transfer = transfer
        transfer.address = block.address + start
        let inline: InlineResult
        do throws(StorageError) {
            inline = try readCached(transfer, record.priority, isWhole: false)
        } catch {
            dropEmptyLanding(&making)
            throw error
        }
        var count = inline.count
        if count < transfer.length, let layout = slice.options?.layout {
            count = layout.wholeBytes(from: 0, count: count)
        }
        guard inline.isComplete, count > 0 else {
            record.isCold = inline.isCold
            dropEmptyLanding(&making)
            return false
        }
        record.length = count
        record.end = count
        making.room = block.capacity - start - count
        making.batch.landed!.append(
            record, SinkCopy(target: record.target, start: 0, count: count, memory: transfer.address))
        if making.room < SlabArena.smallestBlock { making.isFull = true }
        return true
    }

    /// A batch that holds nothing must not hold memory either.
    private func dropEmptyLanding(_ making: inout Making) {
        guard let batch = making.batch.landed, batch.count == 0, let landing = batch.landing, let block = landing.block
        else { return }
        sinks[landing.sink].staging.release(block)
        pool.giveBack(batch)
        making.batch.landed = nil
    }

    private func startLanding(_ transfer: Transfer, _ sink: Int, _ making: inout Making) -> Submission.Landing? {
        let wanted = min(Self.landingBytes, making.capacity * max(transfer.length, SlabArena.smallestBlock))
        let staging = sinks[sink].staging
        // Bytes that wait for long fall out of the processor's caches: further batches only while there is plenty.
        if making.hasOthers, staging.usage.used > staging.limit / 2 { return nil }
        guard let block = staging.take(max(wanted, transfer.length)) else { return nil }
        let batch = pool.take(max(making.capacity, 2))
        let landing = Submission.Landing(sink: sink, block: block)
        batch.landing = landing
        making.batch.landed = batch
        making.room = block.capacity
        return landing
    }

    /// Destinations a few bytes past where the source lies make a copy several times slower; from this on, none is.
    private static let landingAlignment = 256
}

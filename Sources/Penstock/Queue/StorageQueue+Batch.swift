extension StorageQueue {
    /// Performs many requests with one suspension, each with its own result.
    ///
    /// Requests are issued by priority, in order within one. What is in the page cache is read on the caller's own thread
    /// as long as that is little; the rest goes to the ring in one message. Cancelling the task cancels all of them.
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
        guard !requests.isEmpty else { return }
        let batch = core.makeBatch(requests, into: &results, merging: true)
        guard batch.count > 0 else { return core.pool.giveBack(batch) }
        batch.label = label
        await core.run(batch)
        var apart: [Int] = []
        for index in 0..<batch.count {
            let record = batch.records[index]
            reclaim(record, requests)
            if record.mustBuffer, record.outcome.failure == .badAddress {
                // The kernel cannot write to that memory, which now knows it: staging can.
                requests[Int(record.index)].deviceMemory?.refuseHostWrites()
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
        core.pool.giveBack(batch)
        if !apart.isEmpty { await performApart(apart, of: requests, into: &results, label: label) }
        withExtendedLifetime(requests) {}
    }

    /// Performs again, each for itself, requests that failed together: the neighbour of a bad block may be good.
    private nonisolated func performApart(
        _ indexes: [Int], of requests: [StorageRequest], into results: inout [Result<Int, StorageError>], label: String?
    ) async {
        let again = indexes.map { requests[$0] }
        var resultsAgain: [Result<Int, StorageError>] = []
        let batch = core.makeBatch(again, into: &resultsAgain, merging: false)
        batch.label = label
        if batch.count > 0 { await core.run(batch) }
        for index in 0..<batch.count {
            let record = batch.records[index]
            reclaim(record, again)
            let place = Int(record.index)
            resultsAgain[place] = Self.result(of: record, in: again, after: resultsAgain[place])
        }
        core.pool.giveBack(batch)
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

extension StorageQueue {
    /// Gives memory back to its owner: staging that no sink has taken, mapped memory that the host has written.
    private nonisolated func reclaim(_ record: RequestRecord, _ requests: [StorageRequest]) {
        if record.sink >= 0 { core.reclaim(record) }
        guard record.mustBuffer, record.outcome.failure == .none else { return }
        guard case .device(let slice) = requests[Int(record.index)].place else { return }
        slice.memory.hostDidWrite(slice.count, at: slice.offset)
    }
}

extension StorageRequest {
    fileprivate var deviceMemory: (any SinkMemory)? {
        if case .device(let slice) = place { slice.memory } else { nil }
    }
}

extension QueueCore {
    /// Checks the requests, reads inline what is cached, and collects the rest into a submission. `results` then holds
    /// the result of what is done, and what the inline path has read of what is not.
    ///
    /// - Parameter merging: Whether a record may stand for several adjacent requests.
    func makeBatch(
        _ requests: [StorageRequest], into results: inout [Result<Int, StorageError>], merging: Bool
    ) -> Submission {
        let batch = pool.take(max(requests.count, 2))
        let taskPriority = StoragePriority(Task.currentPriority)
        let isCancelled = Task.isCancelled
        // Several reads' worth: what is cached is cheaper here than anywhere, but the caller's thread has other tasks.
        var inlineBudget = 4 * inlineLimit
        for index in requests.indices {
            do throws(StorageError) {
                results.append(
                    .success(
                        try add(
                            requests[index], index, to: batch, merging: merging, isCancelled: isCancelled,
                            taskPriority: taskPriority, inlineBudget: &inlineBudget)))
            } catch {
                results.append(.failure(error))
            }
        }
        batch.sortByPriority()
        return batch
    }

    /// Does what can be done of a request at once, and adds the rest to the batch. Returns the bytes done.
    private func add(
        _ request: borrowing StorageRequest, _ index: Int, to batch: Submission, merging: Bool, isCancelled: Bool,
        taskPriority: StoragePriority, inlineBudget: inout Int
    ) throws(StorageError) -> Int {
        let isRead = request.direction == .read
        let slice: HostBuffer.Slice
        switch request.place {
        case .host(let host): slice = host
        case .device(let device):
            return try add(
                request, device, index, to: batch, isCancelled: isCancelled, taskPriority: taskPriority,
                inlineBudget: &inlineBudget)
        }
        let transfer = try Transfer(isRead ? .read : .write, request.file, request.offset, slice, core: self)
        guard !isCancelled else { throw cancelled(transfer, isRead ? .read : .write) }
        guard transfer.length > 0 else { return 0 }
        let priority = request.priority ?? taskPriority
        var inline = InlineResult.nothing
        if isRead, inlineBudget > 0 {
            inline = try readCached(transfer, priority)
            inlineBudget -= inline.count
            if inline.isComplete { return inline.count }
        }
        var record = RequestRecord(
            isRead ? .read : .write, file: transfer.file, address: transfer.address + inline.count,
            offset: transfer.offset + UInt64(inline.count), length: transfer.length - inline.count, priority: priority)
        record.followsTask = request.priority == nil
        record.slab = transfer.slab
        record.isCold = inline.isCold
        record.tag = request.tag
        record.index = Int32(index)
        let hasDeadline = request.deadline != nil
        if let deadline = request.deadline { record.deadline = RequestOptions.nanoseconds(until: deadline) }
        let isDirect = transfer.file.caching == .direct || (inline.isCold && transfer.file.caching == .automatic)
        record.mayMerge = merging && isRead && isDirect && inline.count == 0 && !hasDeadline
        if batch.count > 0, batch.records[batch.count - 1].absorb(record, limit: configuration.pieceSize) {
            return inline.count
        }
        batch.append(record)
        return inline.count
    }

    /// The same for a request whose bytes go to a device's memory or come from it.
    private func add(
        _ request: borrowing StorageRequest, _ slice: SinkSlice, _ index: Int, to batch: Submission, isCancelled: Bool,
        taskPriority: StoragePriority, inlineBudget: inout Int
    ) throws(StorageError) -> Int {
        let isRead = request.direction == .read
        var transfer = try Transfer(isRead ? .read : .write, request.file, request.offset, slice, core: self)
        guard !isCancelled else { throw cancelled(transfer, isRead ? .read : .write) }
        guard transfer.length > 0 else { return 0 }
        let priority = request.priority ?? taskPriority
        var record = RequestRecord(
            isRead ? .read : .write, file: request.file, address: transfer.address, offset: transfer.offset,
            length: transfer.length, priority: priority)
        var done = 0
        if isRead, let memory = slice.mapped, request.file.caching != .direct {
            transfer.address = memory
            if inlineBudget > 0 {
                let inline = try readCached(transfer, priority)
                done = inline.count
                inlineBudget -= done
                if inline.isComplete {
                    slice.memory.hostDidWrite(done, at: slice.offset)
                    return done
                }
            }
            record.address = memory + done
            record.offset += UInt64(done)
            record.length -= done
            record.end = record.length
            record.mustBuffer = true
        } else {
            let sink = try sinkIndex(of: slice.device)
            record.sink = Int8(sink)
            record.target = slice.target
            if isRead, inlineBudget > 0 {
                let landing = try land(transfer, slice, sinks[sink].staging, priority)
                record.isCold = landing.isCold
                record.landed = landing.block
                if let count = landing.count {
                    record.length = count
                    record.end = count
                    inlineBudget -= count
                }
            }
        }
        record.followsTask = request.priority == nil
        record.tag = request.tag
        record.index = Int32(index)
        if let deadline = request.deadline { record.deadline = RequestOptions.nanoseconds(until: deadline) }
        batch.append(record)
        return done
    }
}

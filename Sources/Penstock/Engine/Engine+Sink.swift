import Glibc

/// Requests whose bytes go on from where they land. A piece leaves the driver's table when it has landed, and counts as the
/// request's until its sink has done with it.
extension Engine {
    /// Work that a sink has.
    struct SinkPiece {
        var submission: Unmanaged<Submission>
        var record: Int32
        /// The piece that goes on to the file when its bytes have come; −1: none.
        var slot: Int32
    }

    /// What is read into staging memory at a time, at most. Larger pieces would keep GPU and disk waiting for each other.
    static let largestStagedPiece = 1 << 20

    // MARK: Planning

    /// The next piece of a request that has a sink, with staging memory to land in; nil while there is none.
    func planStaged(
        _ record: UnsafeMutablePointer<RequestRecord>, piece: UnsafeMutablePointer<PieceTable.Slot>
    ) -> PiecePlan? {
        let position = record.pointee.offset + UInt64(record.pointee.issued)
        let remaining = record.pointee.length - record.pointee.issued
        let limit = min(configuration.pieceSize, Self.largestStagedPiece)
        let layout = record.pointee.target.options?._withUnsafeGuaranteedRef { $0.layout }
        let count = layout?.pieceLength(at: record.pointee.issued, limit: limit) ?? min(remaining, limit)
        let isRead = record.pointee.direction == .read
        let alignment = record.pointee.file!._withUnsafeGuaranteedRef { file in
            // Pieces that are cut elsewhere than at blocks can only be written through the page cache.
            if !isRead, layout != nil { file.onRing.writesThroughCache = true }
            return directAlignment(of: file, for: record)
        }
        var plan = PiecePlan.buffered(at: position, remaining: count, limit: count)
        if let alignment {
            if !isRead {
                plan = .directWrite(at: position, remaining: remaining, limit: limit, alignment: alignment)
            } else if let landed = PiecePlan.landed(
                at: position, count: count, limit: layout == nil ? limit : .max, alignment: alignment,
                landing: layout?.offsetAlignment ?? 1), landed.length <= SlabArena.slabSize
            {
                plan = landed
            }
        }
        // Everybody else's memory may be held by calls that come after this request, and wait for it.
        let staging = sinks[Int(record.pointee.sink)].staging
        guard let block = staging.take(plan.length) ?? staging.takeReserve() else {
            // Of just this size: what is free of another would have it wake, and fail, for ever.
            stagingWanted = plan.length
            return nil
        }
        // A device leaves out what lies between an image's rows; it must not be what the memory was used for before.
        if !isRead, layout != nil { memset(block.address, 0, plan.length) }
        piece.pointee.block = block
        piece.pointee.memory = block.address
        if plan.route != .buffered { record.pointee.usedDirect = true }
        return plan
    }

    /// The entry goes on when staging memory has come back.
    func waitForStaging(_ id: Scheduler.EntryID, _ sink: Int) {
        stagingWaiters.append((id, lanes[id.index].submission!, sink))
        guard !isWaitingForStaging[sink] else { return }
        isWaitingForStaging[sink] = true
        let staging = sinks[sink].staging
        let loop = loop
        _ = staging.whenAvailable(stagingWanted, orReserve: true) { grant in
            // Whoever returned the memory calls this, on whatever thread.
            if let block = grant.block { staging.release(block) }
            loop.send(Errand({ $0.stagingIsBack(sink) }, refused: {}))
        }
    }

    private func stagingIsBack(_ sink: Int) {
        isWaitingForStaging[sink] = false
        let waiters = stagingWaiters
        stagingWaiters.removeAll(keepingCapacity: true)
        for waiter in waiters {
            guard waiter.sink == sink else {
                stagingWaiters.append(waiter)
                continue
            }
            // It may have been cancelled, and its number used again.
            guard lanes[waiter.id.index].submission === waiter.submission,
                let bytes = advance(&lanes[waiter.id.index])
            else { continue }
            scheduler.resume(waiter.id, bytes: bytes)
        }
    }

    // MARK: To the sink

    /// Issues a whole submission, whose bytes have landed already or are to be read back, as one piece.
    func issueLanding(_ id: Scheduler.EntryID, _ submission: Submission) {
        let landing = submission.landing!
        submission.landing!.isHanded = true
        for index in 0..<submission.count where !submission.records[index].hasEnded {
            submission.records[index].issued = submission.records[index].length
            submission.records[index].piecesInFlight = 1
            submission.records[index].piecesInSink = 1
            submission.records[index].wasInSink = true
            submission.records[index].sinkHasEnd = true
        }
        scheduler.issued(id, bytes: 0, rest: .drained)
        scheduler.finished(bytes: 0)
        let token = sinkPieces.insert(
            SinkPiece(submission: Unmanaged.passUnretained(submission), record: -1, slot: -1))
        let isRead = submission.records[0].direction == .read
        sinks[landing.sink].accept(
            SinkWork(
                token: token, intoDevice: isRead, block: landing.block, isLast: !landing.isPart,
                isFailed: landing.block == nil && !landing.isGate, isGate: landing.isGate),
            UnsafeBufferPointer(start: submission.copies, count: submission.count))
    }

    /// Has the sink bring what the slot's piece shall write.
    func fetch(_ slot: Int) {
        let piece = pieces[slot].pointee
        let submission = piece.submission!.takeUnretainedValue()
        hand(
            submission, Int(piece.record), slot: slot, start: piece.start, count: piece.plan.count,
            block: piece.block!, skip: 0)
    }

    private func hand(
        _ submission: Submission, _ index: Int, slot: Int, start: Int, count: Int, block: SlabArena.Block?, skip: Int
    ) {
        let record = submission.records + index
        record.pointee.piecesInSink += 1
        record.pointee.wasInSink = true
        // Pieces of a write come to the sink first, in order; those of a read last, as they land.
        let isLast =
            record.pointee.issued >= record.pointee.length
            && (record.pointee.direction == .write || record.pointee.piecesInFlight == record.pointee.piecesInSink)
        if isLast { record.pointee.sinkHasEnd = true }
        let token = sinkPieces.insert(
            SinkPiece(submission: Unmanaged.passUnretained(submission), record: Int32(index), slot: Int32(slot)))
        let nowhere = UnsafeMutableRawPointer(bitPattern: SlabArena.smallestBlock)!
        var copy = SinkCopy(
            target: record.pointee.target, start: start, count: count, memory: (block?.address ?? nowhere) + skip)
        withUnsafePointer(to: &copy) { copy in
            sinks[Int(record.pointee.sink)].accept(
                SinkWork(
                    token: token, intoDevice: record.pointee.direction == .read, block: block, isLast: isLast,
                    isFailed: record.pointee.outcome.failure != .none),
                UnsafeBufferPointer(start: copy, count: 1))
        }
    }

    /// The driver has done with a piece of a read that has a sink: what landed goes on.
    func endStagedRead(_ slot: Int, errno: Int32) {
        let piece = pieces[slot].pointee
        let submission = piece.submission!.takeUnretainedValue()  // its lane retains it until its records have ended
        let record = submission.records + Int(piece.record)
        var skip = 0
        if case .landed(let head) = piece.plan.route { skip = head }
        let moved = max(0, min(piece.progress - skip, piece.plan.count))
        var usable = moved
        if moved < piece.plan.count, let layout = record.pointee.target.options?._withUnsafeGuaranteedRef({ $0.layout })
        {
            usable = layout.wholeBytes(from: piece.start, count: moved)
        }
        pieces.free(slot)
        scheduler.finished(bytes: piece.plan.count)
        if errno != 0 {
            fail(record, errno: errno)
        } else if moved < piece.plan.count {
            // The file ends here; no byte behind its end, that is of the memory's last use, may go on.
            record.pointee.end = min(record.pointee.end, piece.start + usable)
            record.pointee.issued = record.pointee.length
        }
        if record.pointee.outcome.failure == .none, usable > 0 {
            return hand(
                submission, Int(piece.record), slot: -1, start: piece.start, count: usable, block: piece.block!,
                skip: skip)
        }
        sinks[Int(record.pointee.sink)].staging.release(piece.block!)
        record.pointee.piecesInFlight -= 1
        endIfOver(submission, Int(piece.record))
    }

    // MARK: From the sink

    func flushSinks() {
        for index in 0..<sinks.count { sinks[index].flush() }
    }

    /// Deals with what sinks have done; returns how much that was.
    func reapSinks() -> Int {
        var total = 0
        for index in 0..<sinks.count where sinks[index].hasResults {
            // Also when none of it has a result to come: the sink has room again.
            total += 1
            sinks[index].reap { result in
                total += 1
                endSinkPiece(result)
            }
        }
        return total
    }

    private func endSinkPiece(_ result: SinkResult) {
        let ended = sinkPieces.remove(result.token)
        let submission = ended.submission.takeUnretainedValue()
        guard ended.record >= 0 else { return endLanding(submission, result) }
        let record = submission.records + Int(ended.record)
        record.pointee.piecesInSink -= 1
        if result.failure != .none {
            if record.pointee.outcome.failure == .none { record.pointee.outcome.deviceResult = result.deviceResult }
            fail(record, result)
        }
        if ended.slot >= 0 {
            let isWanted = record.pointee.outcome.failure == .none && record.pointee.cancelReason == .none
            return isWanted ? start(Int(ended.slot)) : endPiece(Int(ended.slot), errno: ECANCELED)
        }
        record.pointee.piecesInFlight -= 1
        endIfOver(submission, Int(ended.record))
    }

    /// The last record that ends hands the submission back to its caller: count what is left until then.
    private func endLanding(_ submission: Submission, _ result: SinkResult) {
        var left = submission.remaining
        for index in 0..<submission.count where left > 0 && !submission.records[index].hasEnded {
            left -= 1
            let record = submission.records + index
            record.pointee.piecesInFlight = 0
            record.pointee.piecesInSink = 0
            if result.failure != .none {
                record.pointee.outcome.deviceResult = result.deviceResult
                fail(record, result)
            }
            end(submission, index)
        }
    }

    /// What was withdrawn has failed for the reason why it was.
    private func fail(_ record: UnsafeMutablePointer<RequestRecord>, _ result: SinkResult) {
        let reason = record.pointee.cancelReason
        fail(record, result.failure == .cancelled && reason != .none ? reason : result.failure, errno: 0)
    }

    /// Asks sinks to give back what they have of a request and have not handed to their device.
    func withdraw(_ submission: Submission, _ index: Int) {
        let object = Unmanaged.passUnretained(submission).toOpaque()
        sinkPieces.forEach { token, piece in
            guard piece.submission.toOpaque() == object else { return }
            // What has landed on its caller's thread is one piece of work, and may have to wait like any other.
            if Int(piece.record) == index || (piece.record < 0 && submission.count == 1) {
                sinks[Int(submission.records[index].sink)].withdraw(token)
            }
        }
    }

    /// Ends the request if nothing of it is in flight or to come; but first has its sink end what it has begun.
    func endIfOver(_ submission: Submission, _ index: Int) {
        let record = submission.records + index
        guard record.pointee.piecesInFlight == 0, record.pointee.issued >= record.pointee.length else { return }
        let hasFailed = record.pointee.outcome.failure != .none
        if record.pointee.target.options != nil, !record.pointee.sinkHasEnd, record.pointee.wasInSink || !hasFailed {
            record.pointee.piecesInFlight += 1
            return hand(submission, index, slot: -1, start: 0, count: 0, block: nil, skip: 0)
        }
        end(submission, index)
    }

    var sinksAreBusy: Bool { (0..<sinks.count).contains { sinks[$0].isBusy } }
}

/// Values named by small numbers, which are used again.
struct NumberedStore<Value> {
    private var values: [Value?] = []
    private var free: [UInt32] = []

    mutating func insert(_ value: Value) -> UInt32 {
        if let index = free.popLast() {
            values[Int(index)] = value
            return index
        }
        values.append(value)
        return UInt32(values.count - 1)
    }

    /// - Precondition: The number is one that ``insert(_:)`` returned and that has not been removed since.
    mutating func remove(_ index: UInt32) -> Value {
        let value = values[Int(index)]!
        values[Int(index)] = nil
        free.append(index)
        return value
    }

    func forEach(_ body: (UInt32, Value) -> Void) {
        for index in values.indices {
            if let value = values[index] { body(UInt32(index), value) }
        }
    }
}

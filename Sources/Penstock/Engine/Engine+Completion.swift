import Glibc

/// What a completion means: retry, go on, fall back, or end the piece.
extension Engine {
    /// Attempts at one piece, at most; the kernel may ask for a retry, but not for ever.
    private static let mostAttempts: UInt16 = 64

    func complete(_ completion: DriverCompletion) {
        guard let slot = pieces.find(completion.token) else { return }
        switch pieces[slot].pointee.work {
        case .free: break
        case .control:
            let done = controls.removeValue(forKey: slot)
            pieces.free(slot)
            done?(completion.result)
        case .piece: completePiece(slot, completion.result)
        }
    }

    private func completePiece(_ slot: Int, _ result: Int32) {
        let piece = pieces[slot]
        if result > 0 {
            piece.pointee.progress += Int(result)
            // Only attempts that get nowhere are counted: /proc hands out a page at a time.
            let attempts = exchange(&piece.pointee.attempts, with: 0)
            if piece.pointee.progress >= piece.pointee.plan.length { return endPiece(slot, errno: 0) }
            continuePiece(slot, moved: Int(result), attempts: attempts)
        } else if result == 0 {
            // End of file; a write that moves nothing has no room.
            let isRead = record(of: piece).pointee.direction == .read
            endPiece(slot, errno: isRead ? 0 : ENOSPC)
        } else {
            failPiece(slot, errno: -result)
        }
    }

    /// A short transfer: the rest is asked for, from where direct I/O allows it.
    private func continuePiece(_ slot: Int, moved: Int, attempts: UInt16) {
        let piece = pieces[slot]
        let record = record(of: piece)
        if piece.pointee.plan.route != .buffered {
            // A direct read that stops inside a block has met the end of the file.
            let unit = record.pointee.file!._withUnsafeGuaranteedRef { $0.alignment?.offset ?? 4096 }
            let overhang = piece.pointee.progress % unit
            if overhang != 0 {
                if record.pointee.direction == .read { return endPiece(slot, errno: 0) }
                piece.pointee.progress -= overhang
                if overhang >= moved { piece.pointee.attempts = attempts }
            }
        }
        retry(slot, errno: EIO)
    }

    private func failPiece(_ slot: Int, errno: Int32) {
        let piece = pieces[slot]
        let record = record(of: piece)
        switch errno {
        case EAGAIN, EINTR: retry(slot, errno: errno)
        case ECANCELED:
            // Somebody else's cancellation (a thread of the kernel's that ended) is no reason to fail: once in a row.
            let isWanted = record.pointee.cancelReason != .none
            if isWanted || piece.pointee.wasStray { return endPiece(slot, errno: errno) }
            retry(slot, errno: errno, isStray: true)
        case EOPNOTSUPP where piece.pointee.wasUncached:
            // The kernel or file system does not know `RWF_DONTCACHE`; every piece in flight finds that out for itself.
            record.pointee.file!._withUnsafeGuaranteedRef { $0.onRing.refusesUncached = true }
            retry(slot, errno: errno)
        case EINVAL, EOPNOTSUPP, EFAULT, ENOTBLK:
            guard piece.pointee.plan.route != .buffered else { return endPiece(slot, errno: errno) }
            let isOfDevice = errno != EFAULT && record.pointee.direction == .read
            record.pointee.file!._withUnsafeGuaranteedRef { demote($0, errno: errno, wholeDevice: isOfDevice) }
            replan(slot)
            retry(slot, errno: errno)
        default: endPiece(slot, errno: errno)
        }
    }

    /// Makes the attempt again from where it stands, unless the request is to end.
    private func retry(_ slot: Int, errno: Int32, isStray: Bool = false) {
        // A cancellation has come to nothing with the attempt that it was meant for.
        if hasEndedEarly(record(of: pieces[slot])) { return endPiece(slot, errno: ECANCELED) }
        pieces[slot].pointee.attempts += 1
        pieces[slot].pointee.wasStray = isStray
        guard pieces[slot].pointee.attempts <= Self.mostAttempts else { return endPiece(slot, errno: errno) }
        recorder.retries += 1
        start(slot)
    }

    /// The same bytes again, through the page cache.
    private func replan(_ slot: Int) {
        let piece = pieces[slot]
        let record = record(of: piece)
        if piece.pointee.bounceBlock >= 0 { bounce.giveBack(piece.pointee.bounceBlock) }
        piece.pointee.bounceBlock = -1
        piece.pointee.progress = 0
        let count = piece.pointee.plan.count
        piece.pointee.plan = .buffered(
            at: record.pointee.offset + UInt64(piece.pointee.start), remaining: count, limit: count)
    }

    // MARK: Ends

    func endPiece(_ slot: Int, errno: Int32) {
        let piece = pieces[slot].pointee
        if piece.block != nil, record(of: pieces[slot]).pointee.direction == .read {
            return endStagedRead(slot, errno: errno)
        }
        let submission = piece.submission!.takeUnretainedValue()  // its lane retains it until its records have ended
        let record = submission.records + Int(piece.record)
        var moved = piece.progress
        if case .bounced(let skip) = piece.plan.route {
            moved = max(0, min(moved - skip, piece.plan.count))
            let block = UnsafeRawPointer(bounce.address(of: piece.bounceBlock))
            piece.memory.copyMemory(from: block + skip, byteCount: moved)
            bounce.giveBack(piece.bounceBlock)
        }
        if let block = piece.block { sinks[Int(record.pointee.sink)].staging.release(block) }
        pieces.free(slot)
        scheduler.finished(bytes: piece.plan.count)
        record.pointee.piecesInFlight -= 1
        if errno != 0 {
            fail(record, errno: errno)
        } else if moved < piece.plan.count {
            // The bytes end here; whatever pieces behind this one have found lies past the end.
            record.pointee.end = min(record.pointee.end, piece.start + moved)
            record.pointee.issued = record.pointee.length
        }
        endIfOver(submission, Int(piece.record))
    }

    /// A piece has failed with the errno, or has been cancelled.
    func fail(_ record: UnsafeMutablePointer<RequestRecord>, errno: Int32) {
        let reason = record.pointee.cancelReason
        var failure = errno == ECANCELED && reason != .none ? reason : StorageError.Code(errno: errno).kind
        // Sent just before the close, arrived just after it.
        if errno == EBADF, record.pointee.file!._withUnsafeGuaranteedRef({ $0.isClosed }) { failure = .fileClosed }
        fail(record, failure, errno: errno)
    }

    /// Notes the first failure and issues nothing more of the record.
    func fail(_ record: UnsafeMutablePointer<RequestRecord>, _ failure: StorageError.Code.Kind, errno: Int32) {
        if record.pointee.outcome.failure == .none {
            record.pointee.outcome.failure = failure
            record.pointee.outcome.errno = errno
        }
        record.pointee.issued = record.pointee.length
    }

    /// A request has ended: exactly once, with nothing in flight. The submission may be its caller's again afterwards.
    func end(_ submission: Submission, _ index: Int) {
        let record = submission.records + index
        assert(!record.pointee.hasEnded && record.pointee.piecesInFlight == 0)
        record.pointee.hasEnded = true
        if record.pointee.outcome.failure == .none { record.pointee.outcome.count = record.pointee.end }
        record.pointee.file?._withUnsafeGuaranteedRef { file in
            file.onRing.pending -= 1
            if file.onRing.pending == 0, !file.onRing.closing.isEmpty { finishClosing(file) }
        }
        recorder.end(record, submittedAt: submission.submittedAt, now: turnTime)
        if let trace = configuration.trace { trace(StorageTrace(record.pointee, submission, driver.kind, turnTime)) }
        submission.tellOfEnd(index)

        let id = record.pointee.entry
        lanes[id.index].remaining -= 1
        if lanes[id.index].remaining == 0 {
            lanes[id.index] = Lane()
            scheduler.retire(id)
        } else if configuration.ordering == .serial, let bytes = advance(&lanes[id.index]),
            !lanes[id.index].waitsForTheOneBefore
        {
            scheduler.resume(id, bytes: bytes)
        }
        submission.remaining -= 1
        if submission.remaining == 0 { submission.end() }
    }

    private func hasEndedEarly(_ record: UnsafeMutablePointer<RequestRecord>) -> Bool {
        record.pointee.outcome.failure != .none || record.pointee.cancelReason != .none
    }

    func record(of piece: UnsafeMutablePointer<PieceTable.Slot>) -> UnsafeMutablePointer<RequestRecord> {
        piece.pointee.submission!._withUnsafeGuaranteedRef { $0.records + Int(piece.pointee.record) }
    }
}

import HeapModule

/// Ending requests early. A cancel is a wish: what has not been issued is withdrawn at once, what is in flight is asked to
/// stop, and only its own completion says how it ended.
extension Engine {
    func cancel(_ submission: Submission) {
        assertOnRing()
        // The last record that ends hands the submission back to its caller: keep count of what is left until then.
        var left = submission.remaining
        for index in 0..<submission.count where left > 0 && !submission.records[index].hasEnded {
            left -= 1
            cancel(submission, index, .cancelled)
        }
    }

    /// Cancels one request of a submission that has not ended.
    private func cancel(_ submission: Submission, _ index: Int, _ reason: StorageError.Code.Kind) {
        let record = submission.records + index
        if record.pointee.cancelReason == .none { record.pointee.cancelReason = reason }
        // Issued whole: it may yet succeed, and then it has.
        if record.pointee.issued < record.pointee.length { fail(record, reason, errno: 0) }
        if record.pointee.piecesInFlight == 0 { return endIfOver(submission, index) }
        if record.pointee.piecesInSink > 0 { withdraw(submission, index) }
        pieces.forEach(of: submission) { slot in
            if Int(pieces[slot].pointee.record) == index { driver.cancel(pieces.token(of: slot)) }
        }
    }

    /// Cancels every request whose tag, under the mask, is the value. Returns how many were asked to end.
    ///
    /// - Parameter isConcerned: Whose requests are looked at.
    @discardableResult
    func cancel(
        tag value: UInt64, mask: UInt64, where isConcerned: (Submission) -> Bool = { _ in true }
    ) -> Int {
        assertOnRing()
        var matches: [(Submission, UInt64, Int)] = []
        var count = 0
        for lane in lanes {
            guard let submission = lane.submission, isConcerned(submission) else { continue }
            for index in lane.start..<lane.end where !submission.records[index].hasEnded {
                if submission.records[index].tag & mask == value & mask {
                    matches.append((submission, submission.generation, index))
                    count += Int(submission.records[index].mergedCount)
                }
            }
        }
        for (submission, generation, index) in matches where submission.generation == generation {
            cancel(submission, index, .cancelled)
        }
        return count
    }

    // MARK: Deadlines

    func insertDeadline(_ deadline: Deadline) {
        deadlines.insert(deadline)
        // Requests that ended before their deadline leave theirs behind; never let those pile up.
        guard deadlines.count > mostDeadlines else { return }
        deadlines = Heap(deadlines.unordered.filter(isAlive))
        mostDeadlines = max(64, 2 * deadlines.count)
    }

    /// Ends the requests that came with a deadline already past, before anything of them is issued.
    func cancelOverdue(_ submission: Submission) {
        let generation = submission.generation
        for index in 0..<submission.count where submission.generation == generation {
            let record = submission.records + index
            if record.pointee.deadline == 0, !record.pointee.hasEnded { cancel(submission, index, .deadlineExceeded) }
        }
    }

    private func isAlive(_ deadline: Deadline) -> Bool {
        deadline.submission.generation == deadline.generation
            && !deadline.submission.records[deadline.record].hasEnded
    }

    /// Cancels what is overdue; returns how many requests that were.
    func expireDeadlines() -> Int {
        var count = 0
        while let first = deadlines.min, first.time <= turnTime {
            deadlines.removeMin()
            guard isAlive(first) else { continue }
            cancel(first.submission, first.record, .deadlineExceeded)
            count += 1
        }
        return count
    }

    /// How long the thread may park, in nanoseconds.
    func timeUntilDeadline() -> UInt64 {
        while let first = deadlines.min, !isAlive(first) { deadlines.removeMin() }
        guard let first = deadlines.min else { return .max }
        let now = driver.now
        return first.time > now ? first.time - now : 0
    }
}

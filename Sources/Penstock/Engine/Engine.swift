import CLinux
import DequeModule
import HeapModule
import Logging
import Synchronization

/// The loop of one queue: takes what callers send, asks the scheduler what may go, starts it on the driver, and tells the
/// callers. Everything here belongs to the ring thread; actor isolation *is* the proof of that.
package final class Engine: @unchecked Sendable {  // every method but `wake` asserts the ring thread
    /// A scheduler entry's requests: a run of a submission's records, of one priority.
    struct Lane {
        var submission: Submission?
        var start = 0
        /// The record whose pieces are being issued.
        var cursor = 0
        var end = 0
        /// Records that have not ended.
        var remaining = 0
        /// The record whose pieces were issued last; −1: none yet.
        var issuing = -1

        /// In serial mode: the record before this one is still in flight.
        var waitsForTheOneBefore: Bool {
            issuing >= 0 && issuing != cursor && !submission!.records[issuing].hasEnded
        }
    }

    struct Deadline: Comparable {
        var time: UInt64
        var submission: Submission
        var generation: UInt64
        var record: Int

        static func < (lhs: Self, rhs: Self) -> Bool { lhs.time < rhs.time }
        static func == (lhs: Self, rhs: Self) -> Bool { lhs.time == rhs.time }
    }

    let loop: JobLoop
    let driver: any StorageDriver
    let configuration: StorageQueue.Configuration
    let arena: SlabArena
    package let sinks: SinkTable
    let logger: Logger?

    // In release builds without dynamic exclusivity checks: one thread, and they cost a tenth of a small read.
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var scheduler: Scheduler
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var lanes: [Lane] = []
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var pieces: PieceTable
    var bounce = BounceStore()
    /// Numbers of the driver's fixed buffers, by slab.
    var fixedBuffers: [Int32] = []
    var controls: [Int: (Int32) -> Void] = [:]
    var waitingControls: Deque<(DriverOperation, (Int32) -> Void)> = []
    var barriers: [Scheduler.BarrierID: () -> Void] = [:]
    /// What sinks have.
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var sinkPieces = NumberedStore<SinkPiece>()
    var stagingWaiters: [(id: Scheduler.EntryID, submission: Submission, sink: Int)] = []
    /// Bytes that the last piece that found no staging memory would have taken.
    var stagingWanted = 0
    var isWaitingForStaging = [Bool](repeating: false, count: SinkTable.capacity)
    /// Whole-file loads on their way.
    var loads: [ObjectIdentifier: LoadOperation] = [:]
    var deadlines = Heap<Deadline>()
    var mostDeadlines = 64
    /// Devices whose file systems took `O_DIRECT` and then failed reads.
    var devicesWithoutDirect: Set<UInt64> = []
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var recorder: RingRecorder
    /// The driver's clock at the start of this turn's deliveries: one reading serves them all.
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    var turnTime: UInt64 = 0

    private(set) var isStopping = false
    /// Whether calls wait for room in flight, for any thread to know.
    let isBacklogged = Atomic<Bool>(false)
    private var stopped: [() -> Void] = []
    private let completions: UnsafeMutableBufferPointer<DriverCompletion>
    /// What closed files' numbers stand for. Kept open, since closing a file must not need a descriptor; −1: none.
    let inertDescriptor: Int32
    private var issuedInTurn = 0
    /// The thread has waited for a sink, in vain, since something happened last.
    private var hasWaitedForSinks = false
    /// How long the thread waits for a device before it has itself woken for that: a few wake-ups' time, in nanoseconds.
    private static let sinkPatience: UInt64 = 250_000
    private let spins: Bool
    /// How many more times the thread looks for work in vain before it does so only now and then.
    private var spinLuck = Engine.mostSpinLuck
    private static let mostSpinLuck = 8
    private static let spinRetry = 16

    /// Slots beyond those for pieces, and for nothing else, so that opening a file need not wait for a read.
    static let controlSlots = 32
    /// Bytes that one turn reads on the ring thread itself, out of the page cache, at most: 64 KiB takes 7 µs.
    private let inlineBytesPerTurn: Int
    /// Buffered pieces larger than this go to the kernel's own workers: copying 1 MiB here would hold up the turn.
    static let largestInlinePiece = 64 << 10
    /// Requests of an automatic file from this size on go around the page cache if they are not in it.
    static let bulkSize = 256 << 10

    init(
        loop: JobLoop, driver: any StorageDriver, configuration: StorageQueue.Configuration,
        arena: SlabArena, sinks: SinkTable, logger: Logger?
    ) {
        self.loop = loop
        self.driver = driver
        self.configuration = configuration
        self.arena = arena
        self.sinks = sinks
        self.logger = logger
        let depth = min(configuration.requestsInFlight, driver.capacity - Self.controlSlots)
        scheduler = Scheduler(configuration.limits(depth: depth))
        pieces = PieceTable(capacity: depth + Self.controlSlots)
        recorder = RingRecorder(driver: driver.kind)
        completions = .allocate(capacity: 256)
        inertDescriptor = driver.usesKernelDescriptors ? linux_open_inert() : -1
        inlineBytesPerTurn = driver.kind == .ioUring ? 1 << 20 : .max
        spins = configuration.spinMicroseconds > 0 && driver.kind != .simulated && linux_online_processors() > 1
    }

    deinit { completions.deallocate() }

    func assertOnRing() { assert(loop.isCurrent, "not on the ring thread") }

    // MARK: The loop

    /// Runs until the queue shuts down and nothing is left to wait for.
    func run() {
        loop.enter()
        turnTime = driver.now
        while true {
            loop.takeInbox { $0.receive(in: self) }
            loop.runJobs()
            let hasDispatchedAll = dispatch()
            flushSinks()
            driver.flush()
            // What has ended leaves room for what waits.
            let ended = harvest()
            // Before the jobs are asked for: one that never stops coming back must not keep the thread.
            if isStopping, isIdle {
                finishStopping()
                if loop.leave() { break }
                continue
            }
            if ended > 0 { hasWaitedForSinks = false }
            if ended > 0 || !hasDispatchedAll || loop.hasJobs || !loop.inbox.isEmpty || canStartControl { continue }
            park()
        }
        logger?.debug("storage queue has shut down", metadata: ["queue": "\(configuration.name)"])
        if inertDescriptor >= 0 { _ = linux_close(inertDescriptor) }
        for index in 0..<sinks.count { sinks[index].close() }
        arena.retire()
        loop.dismissEngine()
        driver.close()
    }

    private var isIdle: Bool {
        pieces.inUse == 0 && waitingControls.isEmpty && scheduler.isIdle && loads.isEmpty && !sinksAreBusy
    }

    /// From any thread.
    func wake() { driver.wake() }

    /// Deals with what has ended; returns how much that was. After anything at all, others may have something to do.
    private func harvest() -> Int {
        turnTime = driver.now
        var total = 0
        var count: Int
        repeat {
            count = driver.reap(into: completions)
            for index in 0..<count { complete(completions[index]) }
            total += count
        } while count == completions.count
        // First: what sinks give back of overdue requests is then reaped at once.
        total += expireDeadlines()
        total += reapSinks()
        if !barriers.isEmpty {
            for barrier in scheduler.takeReachedBarriers() { barriers.removeValue(forKey: barrier)?() }
        }
        return total
    }

    private func park() {
        // With reads in flight the disk is the one to wait for, and the kernel does that better.
        if pieces.inUse == 0 {
            for index in 0..<sinks.count where sinks[index].isBusy && !hasWaitedForSinks {
                // Whatever arrives meanwhile would wait for the device too, and its sender need not wake anybody.
                hasWaitedForSinks = true
                return sinks[index].waitBriefly(Self.sinkPatience)
            }
            if spins, issuedInTurn > 0, !sinksAreBusy, spinFindsWork() { return }
        }
        hasWaitedForSinks = false
        issuedInTurn = 0
        guard loop.inbox.park() else { return }
        for index in 0..<sinks.count where sinks[index].isBusy { sinks[index].armWakeUp() }
        driver.park(timeout: timeUntilDeadline(), inFlight: pieces.inUse)
        loop.inbox.unpark()
    }

    /// Looks for work for a few microseconds after a busy turn: a wake-up costs more than that on both sides.
    private func spinFindsWork() -> Bool {
        // Where work comes at longer intervals, looking for it only takes time from those who make it.
        spinLuck -= 1
        guard spinLuck > 0 || spinLuck % Self.spinRetry == 0 else { return false }
        let end = linux_monotonic_ns() + UInt64(configuration.spinMicroseconds) * 1000
        repeat {
            for _ in 0..<16 {
                if !loop.inbox.isEmpty || driver.hasCompletions {
                    spinLuck = Self.mostSpinLuck
                    return true
                }
                linux_spin_hint()
            }
        } while linux_monotonic_ns() < end
        return false
    }

    // MARK: Stopping

    /// Ends the loop once everything has ended, then calls back, on the ring thread.
    func stop(_ done: (() -> Void)? = nil) {
        isStopping = true
        for load in Array(loads.values) { load.queueIsStopping() }
        for index in 0..<sinks.count { sinks[index].stop() }
        if let done { stopped.append(done) }
    }

    private func finishStopping() {
        stopped.forEach { $0() }
        stopped = []
    }

    // MARK: Admission

    func admit(_ submission: Submission) {
        assertOnRing()
        guard !isStopping else { return submission.refuse() }
        let count = submission.count
        submission.remaining = 0
        if driver.kind == .simulated { submission.submittedAt = turnTime }
        var start = 0
        while start < count {
            let priority = submission.records[start].priority
            var end = start
            var live = 0
            let isLanding = submission.landing != nil
            while end < count, isLanding || submission.records[end].priority == priority {
                if !submission.records[end].hasEnded { live += 1 }
                end += 1
            }
            if live > 0 {
                open(Lane(submission: submission, start: start, cursor: start, end: end, remaining: live), priority)
            }
            start = end
        }
        if submission.remaining == 0 {
            submission.end()
        } else if submission.isCancelledEarly.load(ordering: .acquiring) {
            // The cancellation came before the submission did and found nothing to cancel.
            cancel(submission)
        } else {
            cancelOverdue(submission)
        }
    }

    private func open(_ lane: Lane, _ priority: StoragePriority) {
        let submission = lane.submission!
        submission.remaining += lane.remaining
        var lane = lane
        let bytes = advance(&lane)!  // a live record has something to issue
        let id = scheduler.admit(priority, bytes: bytes)
        if id.index == lanes.count { lanes.append(lane) } else { lanes[id.index] = lane }
        for index in lane.cursor..<lane.end where !submission.records[index].hasEnded {
            submission.records[index].entry = id
            submission.records[index].file?._withUnsafeGuaranteedRef { $0.onRing.pending += 1 }
            let time = submission.records[index].deadline
            guard time != .max else { continue }
            let (deadline, overflow) = submission.submittedAt.addingReportingOverflow(time)
            guard !overflow else { continue }
            insertDeadline(
                Deadline(
                    time: deadline, submission: submission, generation: submission.generation, record: index))
        }
    }

    /// Moves the cursor to the next record with something to issue, and returns how many bytes its next piece has.
    func advance(_ lane: inout Lane) -> Int? {
        let records = lane.submission!.records
        while lane.cursor < lane.end {
            let record = records + lane.cursor
            let rest = record.pointee.length - record.pointee.issued
            if !record.pointee.hasEnded, rest > 0 {
                // What has landed takes no room on the disk.
                return lane.submission!.landing != nil ? 0 : min(rest, configuration.pieceSize)
            }
            lane.cursor += 1
        }
        return nil
    }

    func escalate(_ submission: Submission, to priority: StoragePriority) {
        for index in 0..<submission.count where !submission.records[index].hasEnded {
            let record = submission.records + index
            guard record.pointee.followsTask, record.pointee.priority < priority else { continue }
            record.pointee.priority = priority
            scheduler.escalate(record.pointee.entry, to: priority)
        }
    }

    // MARK: Dispatch

    /// Issues what there is room for. Returns false if it has stopped before that, for the sake of the turn.
    private func dispatch() -> Bool {
        while canStartControl {
            let (operation, done) = waitingControls.removeFirst()
            control(operation, done)
        }
        var inlineBytes = 0
        while inlineBytes < inlineBytesPerTurn, let id = scheduler.next() {
            inlineBytes += issue(id)
            issuedInTurn += 1
        }
        let isBacklogged = scheduler.hasWaiting || scheduler.isFull
        if self.isBacklogged.load(ordering: .relaxed) != isBacklogged {
            self.isBacklogged.store(isBacklogged, ordering: .relaxed)
        }
        return inlineBytes < inlineBytesPerTurn
    }

    /// Issues the entry's next piece. Returns the bytes that the system call will copy on this thread.
    private func issue(_ id: Scheduler.EntryID) -> Int {
        guard let bytes = advance(&lanes[id.index]) else {
            scheduler.proceed(id, rest: .drained)
            return 0
        }
        guard bytes <= scheduler.announcedBytes(of: id) else {
            // The piece that room was found for is no longer wanted, and the next one is larger: look for room again.
            scheduler.proceed(id, rest: .piece(bytes))
            return 0
        }
        if configuration.ordering == .serial, lanes[id.index].waitsForTheOneBefore {
            // The record in flight had more pieces to come and was cancelled: the next one waits for its end all the same.
            scheduler.proceed(id, rest: .paused)
            return 0
        }
        let submission = lanes[id.index].submission!
        let index = lanes[id.index].cursor
        lanes[id.index].issuing = index
        let record = submission.records + index
        guard submission.landing == nil else {
            issueLanding(id, submission)
            return 0
        }
        let slot = pieces.take(.piece)
        let piece = pieces[slot]
        piece.pointee.submission = Unmanaged.passUnretained(submission)
        piece.pointee.record = Int32(index)
        piece.pointee.start = record.pointee.issued
        if configuration.trace != nil, record.pointee.firstIssuedAt == 0 { record.pointee.firstIssuedAt = driver.now }
        guard let plan = plan(record, piece: piece) else {
            pieces.free(slot)
            scheduler.proceed(id, rest: .paused)
            waitForStaging(id, Int(record.pointee.sink))
            return 0
        }
        piece.pointee.plan = plan
        record.pointee.issued += piece.pointee.plan.count
        record.pointee.piecesInFlight += 1
        scheduler.issued(id, bytes: piece.pointee.plan.count, rest: rest(of: id, after: index))
        if record.pointee.sink >= 0, record.pointee.direction == .write {
            fetch(slot)
            return 0
        }
        start(slot)
        return piece.pointee.plan.route == .buffered && piece.pointee.plan.length <= Self.largestInlinePiece
            ? piece.pointee.plan.length : 0
    }

    func rest(of id: Scheduler.EntryID, after record: Int) -> Scheduler.Rest {
        guard let bytes = advance(&lanes[id.index]) else { return .drained }
        return configuration.ordering == .serial && lanes[id.index].cursor != record ? .paused : .piece(bytes)
    }

    /// Starts, or starts again from where it stands, what the slot describes.
    func start(_ slot: Int) {
        driver.start(operation(for: slot), token: pieces.token(of: slot))
    }
}

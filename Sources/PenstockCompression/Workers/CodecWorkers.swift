import CLinux
import DequeModule
import Glibc
import Penstock

/// A queue's threads for encoding and decoding: as many as the machine has processors, started when there is work for
/// them, beside the thread that completes requests and Swift's own.
package final class CodecWorkers: QueueCompanion, @unchecked Sendable {  // `state` is guarded by `mutex`
    private struct State {
        /// Work that has parts which nobody has begun, by priority.
        var waiting = [Deque<PartedWork>](repeating: [], count: StoragePriority.allCases.count)
        var threads: [RingThread] = []
        var idle = 0
        /// Threads that have not come to their end.
        var active = 0
        /// Tasks that wait for all of them to do so.
        var ending: [UnsafeContinuation<Void, Never>] = []
        /// Batches that are on their way, for ``cancel(tag:mask:)``.
        var batches: [RequestsOver] = []
        var isStopped = false
    }

    /// Bytes of chunks that have been read from a disk and wait to be decoded, at most.
    static let landingLimit = 32 << 20

    let counters = DecodingCounters()
    let chooser: DecodingChooser
    /// Where chunks land that are not in the page cache.
    let landing: SlabArena
    /// Chunks that are decoded as a whole to be copied in parts. Not where they
    /// land: who has one of these waits for that.
    let wholeChunks: SlabArena
    /// How many threads there are at most.
    package let width: Int
    private let name: String
    private let hooks: ThreadHooks?
    private var state = State()
    // At addresses of their own, as POSIX wants; allocated once, freed with the object.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let arrived = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    package init(width: Int, name: String, hooks: ThreadHooks? = nil, slabSource: SlabSource = .mappings) {
        self.hooks = hooks
        landing = SlabArena(limit: Self.landingLimit, source: slabSource)
        wholeChunks = SlabArena(limit: Self.landingLimit, source: slabSource)
        self.width = max(1, width)
        chooser = DecodingChooser(width: max(1, width))
        self.name = name
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
        arrived.initialize(to: pthread_cond_t())
        pthread_cond_init(arrived, nil)
    }

    deinit {
        pthread_cond_destroy(arrived)
        arrived.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    // MARK: A task's side

    /// Has the workers do the work, and returns when all its parts have ended, done or refused.
    func run(_ work: PartedWork) async {
        let deadline = work.deadline.flatMap { $0.isForeseeable ? $0 : nil }
        let timer = deadline.map { deadline in Task { await expire(work, at: deadline) } }
        defer { timer?.cancel() }
        await withTaskCancellationHandler {
            await withTaskPriorityEscalationHandler {
                await withUnsafeContinuation { continuation in
                    work.suspend(continuation)
                    add(work)
                }
            } onPriorityEscalated: { _, priority in
                if work.followsTask { raise(work, to: StoragePriority(priority)) }
            }
        } onCancel: {
            withdraw(work, .cancelled)
        }
        precondition(work.hasEnded, "resumed before the end")
    }

    /// Does what `body` does, and lets ``cancel(tag:mask:)`` know of the batch meanwhile.
    func withBatch<R: Sendable, E>(_ batch: RequestsOver, _ body: () async throws(E) -> R) async throws(E) -> R {
        withLock { $0.batches.append(batch) }
        defer {
            withLock { state in
                if let index = state.batches.lastIndex(where: { $0 === batch }) {
                    state.batches.swapAt(index, state.batches.count - 1)
                    state.batches.removeLast()
                }
            }
        }
        return try await body()
    }

    private func add(_ work: PartedWork) {
        let refused: StorageError.Code? = withLock { state in
            if state.isStopped { return .queueClosed }
            if let refused = work.refused { return refused }
            guard wakeOne(&state) else { return .unavailable }
            state.waiting[Int(work.priority.rawValue)].append(work)
            return nil
        }
        if let refused { end(work, refused) }
    }

    private func raise(_ work: PartedWork, to priority: StoragePriority) {
        withLock { state in
            guard priority > work.priority else { return }
            let old = Int(work.priority.rawValue)
            work.priority = priority
            guard let index = state.waiting[old].firstIndex(where: { $0 === work }) else { return }
            state.waiting[old].remove(at: index)
            state.waiting[Int(priority.rawValue)].append(work)
        }
    }

    /// Ends what has not begun of the work when the time has come.
    private func expire(_ work: PartedWork, at deadline: ContinuousClock.Instant) async {
        try? await Task.sleep(until: deadline, clock: .continuous)
        guard !Task.isCancelled else { return }
        withdraw(work, .deadlineExceeded)
    }

    /// Ends what has not begun of work that waits. Work that has not been added yet will not be.
    private func withdraw(_ work: PartedWork, _ reason: StorageError.Code) {
        work.refuse(reason)
        let wasWaiting = withLock { state in
            let priority = Int(work.priority.rawValue)
            guard let index = state.waiting[priority].firstIndex(where: { $0 === work }) else { return false }
            state.waiting[priority].remove(at: index)
            return true
        }
        if wasWaiting { end(work, reason) }
    }

    /// Ends the parts that nobody has begun, of work that does not wait, or no more.
    private func end(_ work: PartedWork, _ reason: StorageError.Code) {
        work.refuse(reason)
        let left = withLock { _ in
            defer { work.next = work.partCount }
            return work.partCount - work.next
        }
        work.end(left)
    }

    /// Work that has parts which nobody has begun.
    package var waitingCount: Int { withLock { state in state.waiting.reduce(0) { $0 + $1.count } } }

    // MARK: The queue's side

    package func stop() {
        let works = withLock { state in
            state.isStopped = true
            pthread_cond_broadcast(arrived)
            defer { state.waiting = state.waiting.map { _ in [] } }
            return state.waiting.flatMap { $0 }
        }
        landing.retire()
        wholeChunks.retire()
        works.forEach { end($0, .queueClosed) }
    }

    package func cancel(tag: UInt64, mask: UInt64) -> Int {
        let value = tag & mask
        let works = withLock { state in
            for batch in state.batches { batch.cancel(tag: value, mask: mask) }
            let works = state.waiting.flatMap { $0.filter { $0.tag & mask == value } }
            for priority in state.waiting.indices { state.waiting[priority].removeAll { $0.tag & mask == value } }
            return works
        }
        works.forEach { end($0, .cancelled) }
        return works.count
    }

    package func ended() async {
        await withUnsafeContinuation { continuation in
            let isOver = withLock { state in
                if state.active > 0 { state.ending.append(continuation) }
                return state.active == 0
            }
            if isOver { continuation.resume() }
        }
    }

    package func join() {
        let threads = withLock { state in
            defer { state.threads = [] }
            return state.threads
        }
        // A worker that drops the last reference to its queue cannot wait for itself, and touches nothing afterwards.
        for thread in threads { if thread.isCurrent { thread.detach() } else { thread.join() } }
    }

    // MARK: The threads

    private func withLock<R>(_ body: (inout State) -> R) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&state)
    }

    /// Wakes a worker, or starts one if all are busy and there may be more. False: there is none, and none can be started.
    private func wakeOne(_ state: inout State) -> Bool {
        if state.idle > 0 {
            pthread_cond_signal(arrived)
        } else if state.threads.count < width {
            // Retained by its thread: the queue joins the threads, but from one of them that cannot be.
            if let thread = try? RingThread(name: "\(name.prefix(9))-codec", { self.work() }) {
                state.threads.append(thread)
                state.active += 1
            }
        }
        return !state.threads.isEmpty
    }

    private func work() {
        hooks?.start()
        defer { hooks?.stop() }
        let scratch = WorkerScratch()
        while let (work, part) = next() {
            if work.refused == nil { work.perform(part, scratch) }
            work.end(1)
        }
        let ending = withLock { state in
            state.active -= 1
            defer { if state.active == 0 { state.ending = [] } }
            return state.active == 0 ? state.ending : []
        }
        ending.forEach { $0.resume() }
    }

    /// The next part of the work that matters most; waits for one. Nil: the queue shuts down.
    private func next() -> (PartedWork, Int)? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let found = take(from: &state) { return found }
            guard !state.isStopped else { return nil }
            state.idle += 1
            // Not within one access to the state: others change it meanwhile, and an optimizer may take it that nobody does.
            pthread_cond_wait(arrived, mutex)
            state.idle -= 1
        }
    }

    private func take(from state: inout State) -> (PartedWork, Int)? {
        for priority in state.waiting.indices.reversed() {
            guard let work = state.waiting[priority].first else { continue }
            defer { work.next += 1 }
            if work.next + 1 == work.partCount { state.waiting[priority].removeFirst() }
            // Each wakes the one after it, so that none of the callers pays for all of them.
            if state.waiting.contains(where: { !$0.isEmpty }) { _ = wakeOne(&state) }
            return (work, work.next)
        }
        return nil
    }
}

extension StorageQueue {
    /// The queue's workers, which are made with the first call.
    package nonisolated var codecWorkers: CodecWorkers {
        get throws(StorageError) {
            try core.companion { () throws(StorageError) in
                CodecWorkers(
                    width: Int(linux_online_processors()), name: configuration.name,
                    hooks: configuration.threadHooks, slabSource: configuration.slabSource)
            }
        }
    }
}

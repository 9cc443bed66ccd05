import CLinux
import Synchronization

extension StorageQueue {
    /// Performs many requests and delivers each as it ends, in the order in which they end.
    ///
    /// ```swift
    /// for await completion in queue.completions(of: requests) {
    ///     show(assets[completion.index], try completion.result.get())
    /// }
    /// ```
    ///
    /// The requests start with the first `next()`. Cancelling the task cancels those that have not ended, which are still
    /// delivered. Leaving the loop early cancels them too; their buffers stay alive until the kernel is done with them.
    public nonisolated func completions(of requests: [StorageRequest]) -> StorageCompletions {
        StorageCompletions(core: core, requests: requests)
    }
}

/// The sequence that ``StorageQueue/completions(of:)`` returns.
public struct StorageCompletions: AsyncSequence, Sendable {
    /// A request's end.
    public typealias Element = StorageCompletion
    /// Errors are in the elements.
    public typealias Failure = Never

    let core: QueueCore
    let requests: [StorageRequest]

    /// Starts over: each iterator performs the requests anew.
    public func makeAsyncIterator() -> Iterator { Iterator(Delivery(core: core, requests: requests)) }

    /// Delivers the completions of one run.
    public struct Iterator: AsyncIteratorProtocol {
        private let delivery: Delivery
        // Ends the run when the iterator goes.
        private let guardian: Guardian

        private final class Guardian {
            let delivery: Delivery
            init(_ delivery: Delivery) { self.delivery = delivery }
            deinit { delivery.cancel() }
        }

        init(_ delivery: Delivery) {
            self.delivery = delivery
            guardian = Guardian(delivery)
        }

        /// The next request to end, or nil when all have.
        public mutating func next() async -> StorageCompletion? { await delivery.next() }

        /// The next request to end, or nil when all have.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> StorageCompletion? {
            await delivery.next()
        }
    }

    /// Completions on their way from the ring thread to the iterating task: never more than there are requests.
    final class Delivery: Sendable {
        fileprivate struct State {
            var hasStarted = false
            /// One, and one more for each request that had to be begun again.
            var submissions: [(Submission, generation: UInt64)] = []
            var isCancelled = false
            var ready: [StorageCompletion] = []
            var taken = 0
            var delivered = 0
            var waiting: Answer<StorageCompletion?>?
        }

        private let core: QueueCore
        private let requests: [StorageRequest]
        private let state = Locked(State())

        init(core: QueueCore, requests: [StorageRequest]) {
            self.core = core
            self.requests = requests
        }

        func next() async -> StorageCompletion? {
            startIfNeeded()
            return await withTaskCancellationHandler {
                await Answer.wait { (answer: Answer<StorageCompletion?>) in
                    let (isReady, value): (Bool, StorageCompletion?) = state.withLock { state in
                        if let completion = state.pop() { return (true, completion) }
                        if state.delivered == requests.count { return (true, nil) }
                        state.waiting = answer
                        return (false, nil)
                    }
                    if isReady { answer.give(value) }
                }
            } onCancel: {
                cancel()
            }
        }

        private func startIfNeeded() {
            guard state.withLock({ state in !exchange(&state.hasStarted, with: true) }) else { return }
            begin(Array(requests.indices))
            if Task.isCancelled { cancel() }
        }

        /// Performs the requests of these places.
        private func begin(_ places: [Int]) {
            let part = places.count == requests.count ? requests : places.map { requests[$0] }
            var results: [Result<Int, StorageError>] = []
            let batch = core.makeBatch(part, into: &results)
            var pending = Set<Int>()
            for record in 0..<batch.count { pending.insert(Int(batch.records[record].index)) }
            let inline = results
            for index in part.indices where !pending.contains(index) { deliver(places[index], results[index]) }
            guard batch.count > 0 else { return core.pool.giveBack(batch) }
            // The observer keeps the requests, and so their files and buffers, alive until the last has ended.
            batch.delivery = .observer { [self] batch, record in
                guard record >= 0 else {
                    batch.delivery = .nobody
                    return
                }
                let index = Int(batch.records[record].index)
                guard part[index].settleMapped(batch.records[record]) else { return begin([places[index]]) }
                deliver(
                    places[index], StorageQueue.result(of: batch.records[record], in: part, after: inline[index]))
            }
            batch.isReferenced.store(true, ordering: .relaxed)
            batch.submittedAt = linux_monotonic_ns()
            let isCancelled = state.withLock { state in
                state.submissions.append((batch, batch.generation))
                return state.isCancelled
            }
            core.executor.loop.send(batch)
            if isCancelled { cancel() }
        }

        private func deliver(_ index: Int, _ result: Result<Int, StorageError>) {
            let completion = StorageCompletion(index: index, tag: requests[index].tag, result: result)
            let waiting: Answer<StorageCompletion?>? = state.withLock { state in
                guard let waiting = exchange(&state.waiting, with: nil) else {
                    state.ready.append(completion)
                    return nil
                }
                state.delivered += 1
                return waiting
            }
            waiting?.give(completion)
        }

        func cancel() {
            let submissions = state.withLock { state in
                state.isCancelled = true
                return state.submissions
            }
            for (submission, generation) in submissions {
                core.executor.loop.send(Cancellation(submission, generation: generation))
            }
        }
    }
}

extension StorageCompletions.Delivery.State {
    fileprivate mutating func pop() -> StorageCompletion? {
        guard taken < ready.count else { return nil }
        defer {
            taken += 1
            delivered += 1
            if taken == ready.count {
                ready.removeAll(keepingCapacity: true)
                taken = 0
            }
        }
        return ready[taken]
    }
}

/// Puts a value in and takes the old one out.
func exchange<T>(_ place: inout T, with value: T) -> T {
    let old = place
    place = value
    return old
}

import DequeModule
import Synchronization

/// Completions that wait for a host's own thread to take them: for hosts whose threads alone may run their code.
///
/// Bounded by the slots of the queues that add to it, which are taken until the completion has been reported.
package final class HostDispatch: Sendable {
    private struct Ready {
        var completion: HostCompletion
        var queue: HostQueue
    }

    private let ready = Locked(Deque<Ready>())
    private let count = Atomic<Int>(0)
    /// The thread that delivers; 0: none.
    private let deliverer = Atomic<UInt>(0)
    private let isClosed = Atomic<Bool>(false)
    let gate = Gate()

    package init() {}

    /// Whether the calling thread is inside a report.
    package var isDelivering: Bool { deliverer.load(ordering: .relaxed) == RingThread.currentID }

    /// Whether something waits that no thread delivers yet. Sequentially consistent.
    var canDeliver: Bool {
        count.load(ordering: .sequentiallyConsistent) > 0 && deliverer.load(ordering: .sequentiallyConsistent) == 0
    }

    func add(_ completion: HostCompletion, of queue: HostQueue) {
        ready.withLock { $0.append(Ready(completion: completion, queue: queue)) }
        count.wrappingAdd(1, ordering: .sequentiallyConsistent)
        gate.wake()
    }

    /// Reports completions on the calling thread, oldest first; returns how many. One thread at a time: in a report it
    /// returns 0 at once, and while another one does so, when the time has passed.
    ///
    /// - Parameters:
    ///   - most: How many, at most.
    ///   - timeout: How long to wait for the first one, in nanoseconds; `.max`: no limit.
    package func deliver(_ most: Int, timeout: UInt64 = 0) -> Int {
        guard !isDelivering else { return 0 }
        if timeout > 0 {
            _ = gate.wait(timeout) { canDeliver || isClosed.load(ordering: .sequentiallyConsistent) }
        }
        let isFree = deliverer.compareExchange(
            expected: 0, desired: RingThread.currentID, ordering: .sequentiallyConsistent
        ).exchanged
        guard isFree else { return 0 }
        defer {
            deliverer.store(0, ordering: .sequentiallyConsistent)
            gate.wake()
        }
        // What its reports add is for the next call, or this one might never return.
        let most = min(most, ready.withLock { $0.count })
        var delivered = 0
        while delivered < most, let next = ready.withLock({ $0.popFirst() }) {
            count.wrappingSubtract(1, ordering: .sequentiallyConsistent)
            next.queue.report(next.completion)
            delivered += 1
        }
        return delivered
    }

    private var isEmpty: Bool {
        deliverer.load(ordering: .sequentiallyConsistent) == 0 && ready.withLock { $0.isEmpty }
    }

    /// Nothing more is added: reports what is left, after whoever does so now, and has nobody wait any more.
    package func close() {
        isClosed.store(true, ordering: .sequentiallyConsistent)
        gate.wake()
        while true {
            _ = gate.wait { deliverer.load(ordering: .sequentiallyConsistent) == 0 }
            // Another may be quicker, and leave some behind.
            guard deliver(.max) > 0 || !isEmpty else { return }
        }
    }
}

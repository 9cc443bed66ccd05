import Glibc

/// The lock around a queue that a test hands to the library, which knows who holds it.
///
/// `@unchecked Sendable`: the monitor guards the owner; `onMisuse` is set once, before anyone else has the lock.
package final class QueueLock: @unchecked Sendable {
    private let monitor = Monitor()
    private var owner: pthread_t?
    private var locks = 0
    var onMisuse: (String) -> Void = { _ in }

    init() {}

    package func lock() {
        let me = pthread_self()
        monitor.lock()
        if owner == me {
            monitor.unlock()
            onMisuse("locked by a thread that holds it already")
            return
        }
        while owner != nil { _ = monitor.wait(until: nil) }
        owner = me
        locks += 1
        monitor.unlock()
    }

    package func unlock() {
        monitor.lock()
        let isMine = owner == pthread_self()
        if isMine {
            owner = nil
            monitor.wakeAll()
        }
        monitor.unlock()
        if !isMine { onMisuse("unlocked by a thread that does not hold it") }
    }

    /// How often it was locked.
    package var count: Int {
        monitor.lock()
        defer { monitor.unlock() }
        return locks
    }

    var isMine: Bool {
        monitor.lock()
        defer { monitor.unlock() }
        return owner == pthread_self()
    }
}

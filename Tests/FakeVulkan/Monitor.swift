import Glibc

/// A mutex and a condition on the monotonic clock.
///
/// `@unchecked Sendable`: both are made for being shared, and neither moves once it is initialised.
final class Monitor: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    /// Ends the thread that executes submissions. Guarded by the mutex.
    var isClosing = false
    /// Counts the wakes, so that none is missed by who was not waiting yet. Guarded by the mutex.
    private(set) var generation: UInt64 = 0

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func lock() { pthread_mutex_lock(mutex) }
    func unlock() { pthread_mutex_unlock(mutex) }

    /// Wakes every waiter. With the mutex held.
    func wakeAll() {
        generation &+= 1
        pthread_cond_broadcast(condition)
    }

    /// Waits, with the mutex held, until woken or until the time on the monotonic clock. False: the time has come.
    func wait(until deadline: timespec?) -> Bool {
        guard var deadline else {
            pthread_cond_wait(condition, mutex)
            return true
        }
        return pthread_cond_timedwait(condition, mutex, &deadline) != ETIMEDOUT
    }

    /// The time so many nanoseconds from now; nil when that is beyond what counts as ever.
    static func deadline(nanoseconds: UInt64) -> timespec? {
        let aYear: UInt64 = 365 * 86_400 * 1_000_000_000
        guard nanoseconds < aYear else { return nil }
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let total = UInt64(now.tv_nsec) + nanoseconds
        return timespec(tv_sec: now.tv_sec + Int(total / 1_000_000_000), tv_nsec: Int(total % 1_000_000_000))
    }
}

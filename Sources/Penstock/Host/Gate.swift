import CLinux
import Glibc
import Synchronization

/// Threads that wait for a condition which others make true without a lock.
///
/// Costs who makes it true one load while nobody waits.
final class Gate: @unchecked Sendable {  // the mutex and the condition are POSIX's own, at addresses of their own
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let waiters = Atomic<Int>(0)

    init() {
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        changed.initialize(to: pthread_cond_t())
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Blocks the thread until the condition holds. False: the time, in nanoseconds, has passed; `.max`: there is no limit.
    ///
    /// - Parameter condition: Reads, with sequential consistency, what is written before ``wake()``.
    func wait(_ timeout: UInt64 = .max, until condition: () -> Bool) -> Bool {
        if condition() { return true }
        guard timeout > 0 else { return false }
        let (end, overflow) = linux_monotonic_ns().addingReportingOverflow(timeout)
        var time = timespec(tv_sec: Int(end / 1_000_000_000), tv_nsec: Int(end % 1_000_000_000))
        pthread_mutex_lock(mutex)
        // Who makes the condition true afterwards finds a waiter; who did so before has made it true for the next line.
        waiters.wrappingAdd(1, ordering: .sequentiallyConsistent)
        defer {
            waiters.wrappingSubtract(1, ordering: .sequentiallyConsistent)
            pthread_mutex_unlock(mutex)
        }
        while !condition() {
            let result =
                overflow ? pthread_cond_wait(changed, mutex) : pthread_cond_timedwait(changed, mutex, &time)
            if result == ETIMEDOUT { return condition() }
        }
        return true
    }

    /// Something that a condition reads has changed, with sequential consistency. From any thread.
    func wake() {
        guard waiters.load(ordering: .sequentiallyConsistent) > 0 else { return }
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }
}

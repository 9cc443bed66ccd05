import CLinux
import Glibc

/// A value behind a lock.
///
/// Not Synchronization's `Mutex`: on Linux the thread sanitizer cannot see into that one and reports what it guards, and
/// its contended path is a priority-inheriting futex, two system calls each time. It can go when both are mended.
package final class Locked<State>: @unchecked Sendable {  // `state` is guarded by `mutex`
    // At an address of its own, as POSIX wants; allocated once, freed with the object.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    #if !DEBUG
    @exclusivity(unchecked)
    #endif
    private var state: State

    package init(_ state: State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Calls `body` with the value to itself.
    package func withLock<R, E>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}

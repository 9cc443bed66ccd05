import CVulkan
import Glibc
import Penstock

/// A thread that sleeps in `vkWaitSemaphores` for the ring thread, and wakes it: 27–121 µs after the fact and without any
/// CPU time, where polling would take a quarter of a core.
///
/// It waits for one semaphore at a time: Mesa's drivers carry out a wait for any of several by polling.
final class TimelineWaiter: @unchecked Sendable {  // `state` is guarded by `mutex`
    private struct State {
        var point: GPUSemaphorePoint?
        /// What the thread sleeps for at this moment.
        var sleepsFor: GPUSemaphorePoint?
        /// What it sleeps for is of no interest any more.
        var isForgotten = false
        var wakesOnTimeout = false
        var isStopping = false
    }

    private let device: GPUDevice
    /// How long the thread sleeps at most before it looks whether it is still wanted; `.max`: for ever.
    private let patience: UInt64
    private var state = State()
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let armed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let woken = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var thread: RingThread?

    /// - Parameter patience: Nanoseconds; `.max` only if what is waited for is sure to come before ``stop()``.
    init(
        _ device: GPUDevice, name: String, patience: UInt64, wake: @escaping @Sendable () -> Void
    ) throws(StorageError) {
        self.device = device
        self.patience = patience
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
        armed.initialize(to: pthread_cond_t())
        pthread_cond_init(armed, nil)
        woken.initialize(to: pthread_cond_t())
        pthread_cond_init(woken, nil)
        // Unretained: `stop` joins the thread before the waiter goes.
        nonisolated(unsafe) let pointer = Unmanaged.passUnretained(self).toOpaque()
        thread = try RingThread(name: name) {
            Unmanaged<TimelineWaiter>.fromOpaque(pointer)._withUnsafeGuaranteedRef { $0.run(wake) }
        }
    }

    deinit {
        pthread_cond_destroy(armed)
        armed.deallocate()
        pthread_cond_destroy(woken)
        woken.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Has the ring thread woken once the point is reached, or something that was asked for before.
    ///
    /// - Parameter wakesOnTimeout: There are other points to look at: wake the ring thread when patience is at an end.
    func wait(for point: GPUSemaphorePoint, wakesOnTimeout: Bool = false) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        // Also for what it sleeps for already: there may be others by now.
        state.wakesOnTimeout = wakesOnTimeout
        if let asleep = state.sleepsFor, asleep.semaphore == point.semaphore, asleep.value <= point.value { return }
        state.point = point
        pthread_cond_signal(armed)
    }

    /// Returns once the thread does not use the semaphore, nor will: it may be destroyed. Takes as long as the thread's
    /// patience at most.
    func forget(_ semaphore: OpaquePointer) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if state.point?.semaphore == semaphore { state.point = nil }
        guard state.sleepsFor?.semaphore == semaphore else { return }
        state.isForgotten = true
        while state.sleepsFor?.semaphore == semaphore { pthread_cond_wait(woken, mutex) }
    }

    /// Ends the thread.
    func stop() {
        pthread_mutex_lock(mutex)
        state.isStopping = true
        pthread_cond_signal(armed)
        pthread_mutex_unlock(mutex)
        thread?.join()
        thread = nil
    }

    // MARK: The thread

    private func run(_ wake: () -> Void) {
        pthread_mutex_lock(mutex)
        while !state.isStopping {
            guard let point = state.point else {
                pthread_cond_wait(armed, mutex)
                continue
            }
            state.point = nil
            state.sleepsFor = point
            pthread_mutex_unlock(mutex)
            let result = Timeline.wait(for: point, patience, device)
            device.note(result)
            pthread_mutex_lock(mutex)
            state.sleepsFor = nil
            let isForgotten = state.isForgotten
            state.isForgotten = false
            pthread_cond_signal(woken)
            if result == VK_TIMEOUT, isForgotten || !state.wakesOnTimeout {
                // On with it, unless there is something else to wait for.
                if state.point == nil, !isForgotten { state.point = point }
                continue
            }
            pthread_mutex_unlock(mutex)
            wake()
            pthread_mutex_lock(mutex)
        }
        pthread_mutex_unlock(mutex)
    }
}

import CVulkan
import Glibc
import Penstock

/// A thread that sleeps in `vkWaitSemaphores` for the ring thread, and wakes it: 27–121 µs after the fact and without any
/// CPU time, where polling would take a quarter of a core.
final class TimelineWaiter: @unchecked Sendable {  // `state` is guarded by `mutex`
    /// A semaphore and the value to wait for.
    struct Point: Equatable {
        var semaphore: VkSemaphore
        var value: UInt64
    }

    private struct State {
        var points: [Point] = []
        /// What the thread sleeps for at this moment.
        var sleepsFor: [Point]?
        var isStopping = false
        /// The value that `kick` must reach to end the thread's sleep.
        var nextKick: UInt64 = 1
    }

    private let device: GPUDevice
    /// Signalled by the host, to have the thread sleep for something else.
    private let kick: Timeline
    private var state = State()
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let armed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var thread: RingThread?

    init(
        _ device: GPUDevice, name: String, wake: @escaping @Sendable () -> Void
    ) throws(StorageError) {
        self.device = device
        do throws(VulkanFailure) {
            kick = try Timeline(device)
        } catch {
            throw error.error(.setUp)
        }
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
        armed.initialize(to: pthread_cond_t())
        pthread_cond_init(armed, nil)
        do throws(StorageError) {
            // Not `self`: the thread ends when it is told to, before the waiter goes.
            let box = Unmanaged.passUnretained(self)
            nonisolated(unsafe) let pointer = box.toOpaque()
            thread = try RingThread(name: "\(name.prefix(11))-gpu") {
                Unmanaged<TimelineWaiter>.fromOpaque(pointer)._withUnsafeGuaranteedRef { $0.run(wake) }
            }
        } catch {
            kick.destroy()
            throw error
        }
    }

    deinit {
        pthread_cond_destroy(armed)
        armed.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Has the ring thread woken once any of the points is reached.
    func wait(for points: [Point]) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard let asleep = state.sleepsFor else {
            state.points = points
            pthread_cond_signal(armed)
            return
        }
        // It sleeps for these or for less: it will wake in time.
        if points.allSatisfy({ point in
            asleep.contains { $0.semaphore == point.semaphore && $0.value <= point.value }
        }) {
            return
        }
        state.points = points
        kickAwake()
    }

    /// Ends the thread. Nothing is in flight.
    func stop() {
        pthread_mutex_lock(mutex)
        state.isStopping = true
        if state.sleepsFor != nil { kickAwake() }
        pthread_cond_signal(armed)
        pthread_mutex_unlock(mutex)
        thread?.join()
        thread = nil
        kick.destroy()
    }

    private func kickAwake() {
        kick.signal(state.nextKick)
        state.nextKick += 1
        state.sleepsFor = nil
    }

    // MARK: The thread

    private func run(_ wake: () -> Void) {
        pthread_mutex_lock(mutex)
        while true {
            while state.points.isEmpty, !state.isStopping { pthread_cond_wait(armed, mutex) }
            guard !state.isStopping else { break }
            let points = state.points
            let kickValue = state.nextKick
            state.points = []
            state.sleepsFor = points
            pthread_mutex_unlock(mutex)
            let result = sleep(points + [Point(semaphore: kick.handle, value: kickValue)])
            pthread_mutex_lock(mutex)
            // Kicked: something else is to be waited for, or nothing.
            guard state.sleepsFor != nil || result != VK_SUCCESS else { continue }
            state.sleepsFor = nil
            pthread_mutex_unlock(mutex)
            wake()
            pthread_mutex_lock(mutex)
        }
        pthread_mutex_unlock(mutex)
    }

    private func sleep(_ points: [Point]) -> VkResult {
        let handles = points.map { $0.semaphore as VkSemaphore? }
        let values = points.map(\.value)
        return handles.withUnsafeBufferPointer { handles in
            values.withUnsafeBufferPointer { values in
                var info = VkSemaphoreWaitInfo()
                info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO
                info.flags = VK_SEMAPHORE_WAIT_ANY_BIT.rawValue
                info.semaphoreCount = UInt32(handles.count)
                info.pSemaphores = handles.baseAddress
                info.pValues = values.baseAddress
                let result = device.functions.waitSemaphores(device.device, &info, .max)
                device.note(result)
                return result
            }
        }
    }
}

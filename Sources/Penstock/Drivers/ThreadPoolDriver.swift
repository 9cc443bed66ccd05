import CLinux
import DequeModule
import Glibc

/// Blocking system calls on a few threads: slower to start than io_uring, but there is no Linux without it.
///
/// The ring thread only hands over and collects. Both lists are taken whole under a lock that is held for a few
/// instructions, and nobody is woken who is awake.
final class ThreadPoolDriver: StorageDriver {
    private struct Task {
        var operation: DriverOperation
        var token: UInt64
    }

    /// What the ring thread and the workers share, under `lock`.
    private final class Shared: @unchecked Sendable {
        var lock = pthread_mutex_t()
        var workArrived = pthread_cond_t()
        var ringWoken = pthread_cond_t()
        var tasks: Deque<Task> = []
        var done: [DriverCompletion] = []
        var sleepingWorkers = 0
        var ringIsParked = false
        var wakeIsPending = false
        var isClosing = false

        init() {
            pthread_mutex_init(&lock, nil)
            pthread_cond_init(&workArrived, nil)
            var attributes = pthread_condattr_t()
            pthread_condattr_init(&attributes)
            pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
            pthread_cond_init(&ringWoken, &attributes)
            pthread_condattr_destroy(&attributes)
        }

        deinit {
            pthread_cond_destroy(&ringWoken)
            pthread_cond_destroy(&workArrived)
            pthread_mutex_destroy(&lock)
        }
    }

    private let shared = Shared()
    private var workers: [RingThread] = []
    private var queued: [Task] = []
    private var collected: [DriverCompletion] = []

    var kind: DriverKind { .threads }
    var capacity: Int { 4096 }
    var usesKernelDescriptors: Bool { true }
    var now: UInt64 { linux_monotonic_ns() }

    init(threads: Int?, name: String) throws(StorageError) {
        let count = threads ?? min(max(Int(linux_online_processors()), 2), 8)
        let shared = shared
        for _ in 0..<count {
            do throws(StorageError) {
                workers.append(try RingThread(name: "\(name.prefix(10))-io") { Self.work(shared) })
            } catch {
                // Fewer threads than wished for are slower, none at all is an error.
                if workers.isEmpty { throw error }
                break
            }
        }
    }

    var threadCount: Int { workers.count }

    func close() {
        pthread_mutex_lock(&shared.lock)
        shared.isClosing = true
        pthread_cond_broadcast(&shared.workArrived)
        pthread_mutex_unlock(&shared.lock)
        for worker in workers { worker.join() }
        workers = []
    }

    // MARK: The ring thread's side

    func start(_ operation: DriverOperation, token: UInt64) { queued.append(Task(operation: operation, token: token)) }

    func cancel(_ token: UInt64) {
        if let index = queued.firstIndex(where: { $0.token == token }) {
            queued.remove(at: index)
            collected.append(DriverCompletion(token: token, result: -ECANCELED))
            return
        }
        pthread_mutex_lock(&shared.lock)
        defer { pthread_mutex_unlock(&shared.lock) }
        // What a worker has taken runs to its end.
        if let index = shared.tasks.firstIndex(where: { $0.token == token }) {
            shared.tasks.remove(at: index)
            shared.done.append(DriverCompletion(token: token, result: -ECANCELED))
        }
    }

    func flush() {
        guard !queued.isEmpty else { return }
        pthread_mutex_lock(&shared.lock)
        shared.tasks.append(contentsOf: queued)
        let wakes = min(shared.sleepingWorkers, queued.count)
        pthread_mutex_unlock(&shared.lock)
        for _ in 0..<wakes { pthread_cond_signal(&shared.workArrived) }
        queued.removeAll(keepingCapacity: true)
    }

    // Not worth a lock on each look: the ring thread collects once a turn and parks under the lock.
    var hasCompletions: Bool { !collected.isEmpty }

    func reap(into completions: UnsafeMutableBufferPointer<DriverCompletion>) -> Int {
        pthread_mutex_lock(&shared.lock)
        if collected.isEmpty {
            swap(&collected, &shared.done)
        } else {
            collected.append(contentsOf: shared.done)
            shared.done.removeAll(keepingCapacity: true)
        }
        pthread_mutex_unlock(&shared.lock)
        let count = min(collected.count, completions.count)
        for index in 0..<count { completions[index] = collected[index] }
        collected.removeFirst(count)
        return count
    }

    func park(timeout: UInt64, inFlight: Int) {
        guard collected.isEmpty else { return }
        flush()
        pthread_mutex_lock(&shared.lock)
        shared.ringIsParked = true
        let end = now.addingReportingOverflow(timeout)
        while shared.done.isEmpty, !shared.wakeIsPending {
            if timeout == .max || end.overflow {
                pthread_cond_wait(&shared.ringWoken, &shared.lock)
            } else {
                var time = timespec(
                    tv_sec: Int(end.partialValue / 1_000_000_000), tv_nsec: Int(end.partialValue % 1_000_000_000))
                if pthread_cond_timedwait(&shared.ringWoken, &shared.lock, &time) == ETIMEDOUT { break }
            }
        }
        shared.ringIsParked = false
        shared.wakeIsPending = false
        pthread_mutex_unlock(&shared.lock)
    }

    func wake() {
        pthread_mutex_lock(&shared.lock)
        shared.wakeIsPending = true
        let parked = shared.ringIsParked
        pthread_mutex_unlock(&shared.lock)
        if parked { pthread_cond_signal(&shared.ringWoken) }
    }

    // MARK: A worker's side

    private static func work(_ shared: Shared) {
        var finished: DriverCompletion?
        while true {
            pthread_mutex_lock(&shared.lock)
            var wakesRing = false
            if let completion = finished {
                shared.done.append(completion)
                finished = nil
                // Nobody else will tell the ring thread that is asleep.
                wakesRing = shared.ringIsParked && shared.done.count == 1
            }
            while shared.tasks.isEmpty, !shared.isClosing {
                if wakesRing {
                    pthread_cond_signal(&shared.ringWoken)
                    wakesRing = false
                }
                shared.sleepingWorkers += 1
                pthread_cond_wait(&shared.workArrived, &shared.lock)
                shared.sleepingWorkers -= 1
            }
            let task = shared.tasks.popFirst()
            pthread_mutex_unlock(&shared.lock)
            if wakesRing { pthread_cond_signal(&shared.ringWoken) }
            guard let task else { return }
            finished = DriverCompletion(token: task.token, result: task.operation.performBlocking())
        }
    }
}

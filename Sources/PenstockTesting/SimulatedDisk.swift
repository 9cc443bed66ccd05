import Glibc
public import Penstock
public import SystemPackage

/// A disk in memory, with faults from a seed and a clock that a test can hold: for tests of code that uses a
/// ``Penstock/StorageQueue``.
///
/// ```swift
/// let disk = SimulatedDisk(seed: 42, faults: .everything)
/// disk["level1.bin"] = Array(repeating: 7, count: 1 << 20)
/// let queue = try StorageQueue(simulating: disk)
/// let level = try await queue.load("level1.bin")
/// ```
///
/// The queue is the real one: scheduler, splitting, retries, cancellation and errors are what they are on a real disk.
/// Only the system calls are played. With the same seed, the same calls in the same order meet the same faults; tasks
/// that prefer the queue's executor make their calls in the same order every time.
public final class SimulatedDisk: Sendable {
    /// What time does.
    public enum Time: Sendable {
        /// It jumps to the next event whenever the queue has nothing else to do: delays cost no real time.
        case automatic
        /// It stands still but for ``SimulatedDisk/advance(by:)``.
        case manual
    }

    let state: SimulatedState

    /// Makes an empty disk.
    ///
    /// - Parameters:
    ///   - seed: Decides each fault and each delay. Print it when a test fails.
    ///   - faults: What goes wrong, and how often.
    ///   - time: What the disk's clock does.
    ///   - capacity: Bytes the disk holds before writes meet `ENOSPC`.
    ///   - openFileLimit: Open files before opening one more meets `EMFILE`.
    public init(
        seed: UInt64, faults: Faults = .none, time: Time = .automatic, capacity: Int = .max, openFileLimit: Int = 1024
    ) {
        state = SimulatedState(
            seed: seed, faults: faults, time: time, capacity: capacity, openFileLimit: openFileLimit)
    }

    /// A file's bytes; nil: there is no such file. Assigning makes, replaces or removes it.
    public subscript(path: FilePath) -> [UInt8]? {
        get { state.withLock { $0.files[path]?.bytes } }
        set {
            state.withLock { contents in
                guard let newValue else {
                    contents.files[path] = nil
                    return
                }
                if let file = contents.files[path] {
                    file.bytes = newValue
                } else {
                    contents.files[path] = SimulatedFile(bytes: newValue)
                }
            }
        }
    }

    /// Has every read or write that reaches into the range fail with the errno, from now on.
    public func fail(_ path: FilePath, in range: Range<UInt64>, with errno: Errno = .ioError) {
        state.withLock { $0.badRanges[path, default: []].append((range, errno.rawValue)) }
    }

    /// What goes wrong, and how often; may change at any time.
    public var faults: Faults {
        get { state.withLock { $0.faults } }
        set { state.withLock { $0.faults = newValue } }
    }

    // MARK: Time

    /// The time on the disk's clock since it was made.
    public var now: Duration { .nanoseconds(Int64(state.withLock { $0.now })) }

    /// Lets time pass, which ends the operations that are due.
    public func advance(by duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let nanoseconds = UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
        state.withLock { $0.now += nanoseconds }
        state.signal()
    }

    /// Returns once at least `count` operations are in flight on the disk: the state that a test wants to act in.
    public func operationsInFlight(atLeast count: Int) async {
        await withCheckedContinuation { continuation in
            let isReached = state.withLock { contents in
                if contents.inFlight >= count { return true }
                contents.observers.append((count, continuation))
                return false
            }
            if isReached { continuation.resume() }
        }
    }

    // MARK: What happened

    /// Counts of what the disk has done.
    public struct Counts: Sendable {
        /// Operations started.
        public internal(set) var operations = 0
        /// Operations in flight, at most.
        public internal(set) var peakInFlight = 0
        /// Faults of any kind.
        public internal(set) var faults = 0
        /// Operations that were cancelled.
        public internal(set) var cancelled = 0
        /// Calls of `fsync` and `fdatasync`.
        public internal(set) var syncs = 0
        /// Files open now.
        public internal(set) var openFiles = 0
    }

    /// What the disk has done.
    public var counts: Counts {
        state.withLock { contents in
            var counts = contents.counts
            counts.openFiles = contents.open.count
            return counts
        }
    }
}

extension StorageQueue {
    /// Starts a queue whose files are on a simulated disk. Its inline path is off: every request takes the way through
    /// the scheduler.
    public init(
        simulating disk: SimulatedDisk, _ configuration: Configuration = .init()
    ) throws(StorageError) {
        try self.init(configuration, logger: nil) { _ throws(StorageError) in
            let feature = Capabilities.Feature(
                "driver", isAvailable: true, rung: DriverKind.simulated.rawValue, reason: "files in memory")
            return (SimulatedDriver(disk.state), [feature])
        }
    }
}

import Glibc
import Penstock
import SystemPackage

/// A file in memory.
final class SimulatedFile {
    var bytes: [UInt8]
    init(bytes: [UInt8]) { self.bytes = bytes }
}

/// What a test and the ring thread share, under one lock.
final class SimulatedState: @unchecked Sendable {  // `contents` is guarded by `lock`
    struct OpenFile {
        var file: SimulatedFile
        var path: FilePath
        var isDirect: Bool
    }

    struct Contents {
        var files: [FilePath: SimulatedFile] = [:]
        var badRanges: [FilePath: [(Range<UInt64>, Int32)]] = [:]
        var open: [Int32: OpenFile] = [:]
        var nextDescriptor = DriverOperation.firstSimulatedDescriptor
        var faults: SimulatedDisk.Faults
        var random: SplitMix64
        var now: UInt64 = 0
        var inFlight = 0
        var isWoken = false
        var counts = SimulatedDisk.Counts()
        var observers: [(Int, CheckedContinuation<Void, Never>)] = []

        var used: Int { files.values.reduce(0) { $0 + $1.bytes.count } }
    }

    let time: SimulatedDisk.Time
    let capacity: Int
    let openFileLimit: Int
    private var lock = pthread_mutex_t()
    private var changed = pthread_cond_t()
    private var contents: Contents

    init(seed: UInt64, faults: SimulatedDisk.Faults, time: SimulatedDisk.Time, capacity: Int, openFileLimit: Int) {
        self.time = time
        self.capacity = capacity
        self.openFileLimit = openFileLimit
        contents = Contents(faults: faults, random: SplitMix64(seed: seed))
        pthread_mutex_init(&lock, nil)
        pthread_cond_init(&changed, nil)
    }

    deinit {
        pthread_cond_destroy(&changed)
        pthread_mutex_destroy(&lock)
    }

    func withLock<R>(_ body: (inout Contents) throws -> R) rethrows -> R {
        pthread_mutex_lock(&lock)
        defer { pthread_mutex_unlock(&lock) }
        return try body(&contents)
    }

    func signal() { pthread_cond_broadcast(&changed) }

    /// Blocks until `condition` holds; it is looked at again after each ``signal()``.
    func wait(until condition: (inout Contents) -> Bool) {
        pthread_mutex_lock(&lock)
        defer { pthread_mutex_unlock(&lock) }
        while !condition(&contents) { pthread_cond_wait(&changed, &lock) }
    }
}

import CLinux
import Glibc
import Penstock
import SystemPackage

/// Plays the kernel: operations end when the disk's clock says so, with what the seed decides. Bytes move at the end of
/// an operation and not before, so a queue that answers too early is found out.
final class SimulatedDriver: StorageDriver {
    private struct Pending {
        var operation: DriverOperation
        var token: UInt64
        var due: UInt64
        /// Set by the seed or a cancellation; else the operation is carried out.
        var result: Int32?
        var mostBytes: Int
    }

    /// What direct I/O wants on this disk.
    static let alignment: UInt64 = 512

    private let state: SimulatedState
    private var pending: [Pending] = []
    private var lastWasStray: Set<UInt64> = []

    init(_ state: SimulatedState) { self.state = state }

    var kind: DriverKind { .simulated }
    var capacity: Int { 4096 }
    var usesKernelDescriptors: Bool { false }
    var now: UInt64 {
        lastNow = state.withLock { $0.now }
        return lastNow
    }
    /// What the engine was last told the time is: what it makes of that must not shift when the test moves the clock.
    private var lastNow: UInt64 = 0

    func close() {}

    // MARK: Starting

    func start(_ operation: DriverOperation, token: UInt64) {
        let reached = state.withLock { contents in
            pending.append(decide(operation, token, &contents))
            contents.inFlight += 1
            contents.counts.operations += 1
            contents.counts.peakInFlight = max(contents.counts.peakInFlight, contents.inFlight)
            let inFlight = contents.inFlight
            let reached = contents.observers.filter { $0.0 <= inFlight }
            contents.observers.removeAll { $0.0 <= inFlight }
            return reached
        }
        for (_, continuation) in reached { continuation.resume() }
    }

    private func decide(
        _ operation: DriverOperation, _ token: UInt64, _ contents: inout SimulatedState.Contents
    ) -> Pending {
        let faults = contents.faults
        var pending = Pending(
            operation: operation, token: token, due: contents.now + delay(faults, &contents.random),
            mostBytes: Int(operation.length))
        guard operation.kind == .read || operation.kind == .write else { return pending }
        let isDirect = contents.open[operation.descriptor]?.isDirect ?? false
        if contents.random.chance(faults.interruptions) {
            pending.result = -EINTR
        } else if contents.random.chance(faults.again) {
            pending.result = -EAGAIN
        } else if !lastWasStray.contains(token), contents.random.chance(faults.strayCancellations) {
            lastWasStray.insert(token)
            pending.result = -ECANCELED
        } else if contents.random.chance(faults.ioErrors) {
            pending.result = -EIO
        } else if isDirect, contents.random.chance(faults.directRefusals) {
            pending.result = -EINVAL
        } else if operation.length > 1, contents.random.chance(faults.shortTransfers) {
            pending.mostBytes = Int.random(in: 1..<Int(operation.length), using: &contents.random)
            // A direct transfer ends at a block, except at the end of the file.
            if isDirect { pending.mostBytes = max(pending.mostBytes / 512, 1) * 512 }
        } else {
            return pending
        }
        contents.counts.faults += 1
        return pending
    }

    private func delay(_ faults: SimulatedDisk.Faults, _ random: inout SplitMix64) -> UInt64 {
        let (least, most) = (faults.delay.lowerBound.nanoseconds, faults.delay.upperBound.nanoseconds)
        return least == most ? least : UInt64.random(in: least...most, using: &random)
    }

    func cancel(_ token: UInt64) {
        guard let index = pending.firstIndex(where: { $0.token == token }) else { return }
        state.withLock { contents in
            guard contents.random.chance(contents.faults.cancellable) else { return }
            pending[index].result = -ECANCELED
            pending[index].due = contents.now
            contents.counts.cancelled += 1
        }
    }

    func flush() {}

    // MARK: Ending

    var hasCompletions: Bool {
        let now = now
        return pending.contains { $0.due <= now }
    }

    func reap(into completions: UnsafeMutableBufferPointer<DriverCompletion>) -> Int {
        var count = 0
        state.withLock { contents in
            while count < completions.count, let index = nextDue(contents.now) {
                let ended = pending.remove(at: index)
                let result = ended.result ?? contents.carryOut(ended.operation, mostBytes: ended.mostBytes, state)
                if result != -ECANCELED { lastWasStray.remove(ended.token) }
                contents.inFlight -= 1
                completions[count] = DriverCompletion(token: ended.token, result: result)
                count += 1
            }
        }
        return count
    }

    private func nextDue(_ now: UInt64) -> Int? {
        pending.indices.filter { pending[$0].due <= now }.min { pending[$0].due < pending[$1].due }
    }

    // MARK: Waiting

    func park(timeout: UInt64, inFlight: Int) {
        let next = pending.map(\.due).min()
        let start = lastNow
        let limit = start.addingReportingOverflow(timeout).overflow ? UInt64.max : start + timeout
        if state.time == .automatic, next != nil || limit != .max {
            state.withLock { contents in
                if !contents.isWoken { contents.now = max(contents.now, min(next ?? .max, limit)) }
                contents.isWoken = false
            }
            return
        }
        state.wait { contents in
            guard contents.isWoken || contents.now >= min(next ?? .max, limit) else { return false }
            contents.isWoken = false
            return true
        }
    }

    func wake() {
        state.withLock { $0.isWoken = true }
        state.signal()
    }

    // MARK: Files

    func openDirectly(_ descriptor: Int32, flags: Int32) -> Int32 {
        state.withLock { contents in
            guard let open = contents.open[descriptor] else { return -EBADF }
            return contents.place(SimulatedState.OpenFile(file: open.file, path: open.path, isDirect: true))
        }
    }

    func isCached(_ descriptor: Int32, at offset: UInt64) -> Bool {
        state.withLock { $0.random.chance($0.faults.cached) }
    }

    func closeNow(_ descriptor: Int32) -> Int32 {
        state.withLock { $0.open.removeValue(forKey: descriptor) == nil ? -EBADF : 0 }
    }
}

extension Duration {
    var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(max(0, seconds)) * 1_000_000_000 + UInt64(max(0, attoseconds) / 1_000_000_000)
    }
}

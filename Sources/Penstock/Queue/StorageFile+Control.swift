import CLinux
import Synchronization

extension StorageFile {
    /// What ``sync(_:)`` makes durable.
    public enum Durability: Sendable {
        /// The data, and what is needed to read it again. `fdatasync`.
        case data
        /// The data and all of the file's metadata. `fsync`.
        case full
    }

    /// The file's size now, in bytes. `statx`.
    public func size() async throws(StorageError) -> UInt64 {
        try checkOpen(.size)
        if core.usesKernelDescriptors {
            // The inode is in memory as long as the file is open: this never waits for a local disk.
            var status = linux_file_status()
            let result = linux_status(descriptor, &status)
            // A close meanwhile may have put the inert descriptor in the file's place.
            try checkOpen(.size)
            if result == 0 { return status.size }
            throw StorageError(errno: -result, .size, path: path)
        }
        let box = StatusBox()
        var operation = DriverOperation(.status, descriptor: descriptor)
        operation.address = UnsafeMutableRawPointer(box.status)
        _ = try await control(.size, operation)
        return box.status.pointee.size
    }

    /// Reserves space for the range, growing the file if the range ends behind its end. `fallocate`.
    public func preallocate(_ range: Range<UInt64>) async throws(StorageError) {
        guard range.upperBound <= Transfer.largestOffset else {
            throw StorageError(.invalidRange, .preallocate, path: path, offset: range.lowerBound)
        }
        guard !range.isEmpty else { return try checkOpen(.preallocate) }
        var operation = DriverOperation(.preallocate, descriptor: descriptor)
        operation.offset = range.lowerBound
        operation.byteCount = range.upperBound - range.lowerBound
        _ = try await control(.preallocate, operation)
    }

    /// Makes the file exactly `size` bytes long. `ftruncate`.
    public func truncate(to size: UInt64) async throws(StorageError) {
        guard size <= Transfer.largestOffset else {
            throw StorageError(.invalidRange, .truncate, path: path, offset: size)
        }
        var operation = DriverOperation(.truncate, descriptor: descriptor)
        operation.offset = size
        _ = try await control(.truncate, operation)
    }

    /// Makes what was written before durable.
    public func sync(_ durability: Durability = .data) async throws(StorageError) {
        var operation = DriverOperation(.sync, descriptor: descriptor)
        operation.dataOnly = durability == .data
        _ = try await control(.sync, operation)
    }

    /// Closes the file once its last request has ended. Requests made from now on end with
    /// ``StorageError/Code/fileClosed``. Closing twice does no harm.
    public func close() async throws(StorageError) {
        closed.store(true, ordering: .releasing)
        let result = await Answer.wait { answer in
            core.executor.loop.send(FileClosing(self) { answer.give($0) })
        }
        if result < 0 { throw StorageError(errno: -result, .close, path: path) }
    }

    private func checkOpen(_ operation: StorageError.Operation) throws(StorageError) {
        if isClosed { throw StorageError(.fileClosed, operation, path: path) }
    }

    private func control(
        _ name: StorageError.Operation, _ operation: DriverOperation
    ) async throws(StorageError) -> Int32 {
        try checkOpen(name)
        let box = OperationBox(operation)
        let result: Int32 = try await core.errand(name) { [self] engine, done in
            // Counts like a request, so that the descriptor cannot be closed under it.
            onRing.pending += 1
            engine.control(box.operation) { [self] result in
                onRing.pending -= 1
                if onRing.pending == 0, !onRing.closing.isEmpty { engine.finishClosing(self) }
                done(.success(result))
            }
        }
        if result < 0 {
            try checkOpen(name)
            throw StorageError(errno: -result, name, path: path)
        }
        return result
    }
}

/// Carries an operation to the ring thread; the pointer in it is to memory that the suspended caller holds.
private struct OperationBox: @unchecked Sendable {
    let operation: DriverOperation
    init(_ operation: DriverOperation) { self.operation = operation }
}

/// Memory for a status, held by the suspended caller while the driver fills it.
private final class StatusBox: @unchecked Sendable {
    let status = UnsafeMutablePointer<linux_file_status>.allocate(capacity: 1)
    init() { status.initialize(to: linux_file_status()) }
    deinit { status.deallocate() }
}

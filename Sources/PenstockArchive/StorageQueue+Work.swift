import Penstock
import PenstockCompression
import SystemPackage

extension StorageQueue {
    /// Has one of the queue's workers do what computes for long or blocks, so that Swift's own threads are not held up.
    ///
    /// - Throws: ``StorageError/Code/cancelled`` and the like, if it was not begun.
    nonisolated func work<T: Sendable>(
        priority: StoragePriority? = nil, _ body: @escaping @Sendable () -> T
    ) async throws(StorageError) -> T {
        let result = Locked<T?>(nil)
        try await codecWorkers.perform(1, priority: priority) { _ in
            let value = body()
            result.withLock { $0 = value }
        }
        return result.withLock { $0! }
    }

    /// The same for work on a file that may fail.
    ///
    /// - Parameter message: What cannot be done, if it was not begun.
    nonisolated func work<T: Sendable>(
        on file: FilePath, _ message: String, _ body: @escaping @Sendable () throws(ArchiveError) -> T
    ) async throws(ArchiveError) -> T {
        let result: Result<T, ArchiveError>
        do throws(StorageError) {
            result = try await work { Result { () throws(ArchiveError) in try body() } }
        } catch {
            throw ArchiveError(error, file: file, message)
        }
        return try result.get()
    }
}

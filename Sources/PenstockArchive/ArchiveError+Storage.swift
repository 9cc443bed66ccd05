import Penstock
import PenstockCompression
import SystemPackage

/// What has come of the work, for a task group's tasks, which must not throw.
///
/// They put it into a variable before they return it in a tuple: Swift 6.3, when it optimizes, loses the other elements of a
/// tuple that is returned together with what an async call with a typed error has given.
func result<T>(_ work: () async throws(ArchiveError) -> T) async -> Result<T, ArchiveError> {
    do throws(ArchiveError) {
        return .success(try await work())
    } catch {
        return .failure(error)
    }
}

extension ArchiveError {
    /// A failure of the queue's.
    init(_ error: StorageError, file: FilePath? = nil, entry: String? = nil, _ message: String) {
        // What a codec or a checksum had against a chunk comes wrapped.
        let code: Code = error.code == .cancelled ? .cancelled : .storage
        self.init(
            code, file: file ?? error.path, entry: entry, offset: error.offset,
            code == .cancelled ? "The work was cancelled" : message, underlying: error)
    }

    /// A failure of a system call that no queue made.
    init(errno: Int32, _ path: FilePath, _ operation: StorageError.Operation, entry: String? = nil, _ message: String) {
        self.init(StorageError(errno: errno, operation, path: path), file: path, entry: entry, message)
    }

    static func cancelled(_ file: FilePath) -> ArchiveError {
        ArchiveError(.cancelled, file: file, "The work was cancelled")
    }
}

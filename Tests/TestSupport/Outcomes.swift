import Penstock
import Testing

/// Calls `body`, which must throw a ``StorageError`` with the code, and returns the error.
@discardableResult
package func expectFailure<T>(
    _ code: StorageError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> T
) async -> StorageError? {
    do {
        let value = try await body()
        Issue.record("expected \(code), got \(value)", sourceLocation: sourceLocation)
    } catch let error as StorageError {
        if error.code != code { Issue.record("expected \(code), got \(error)", sourceLocation: sourceLocation) }
        return error
    } catch {
        Issue.record("not a StorageError: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

extension Result where Failure == StorageError {
    package var code: StorageError.Code? {
        if case .failure(let error) = self { error.code } else { nil }
    }

    /// The error, if it has failed.
    package var error: StorageError? {
        if case .failure(let error) = self { error } else { nil }
    }

    package var value: Success? { try? get() }
}

extension HostBuffer {
    package var bytes: [UInt8] { withUnsafeBytes { Array($0) } }
}

import Penstock
import Testing

/// Calls `body`, which must throw a ``StorageError`` with the code, and returns the error.
@discardableResult
func expectFailure<T>(
    _ code: StorageError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> T
) async -> StorageError? {
    do {
        let value = try await body()
        Issue.record("expected \(code), got \(value)", sourceLocation: sourceLocation)
    } catch let error as StorageError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("not a StorageError: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

extension Result where Failure == StorageError {
    var code: StorageError.Code? {
        if case .failure(let error) = self { error.code } else { nil }
    }

    var value: Success? { try? get() }
}

extension HostBuffer {
    var bytes: [UInt8] { withUnsafeBytes { Array($0) } }
}

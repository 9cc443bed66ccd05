import Penstock
import Testing

/// The drivers that every test of the queue runs over.
package enum Driver: String, CaseIterable, CustomTestStringConvertible {
    case ioUring, threads

    package var testDescription: String { rawValue }

    /// A configuration that uses the driver, changed by `change`.
    package func configuration(
        _ change: (inout StorageQueue.Configuration) -> Void = { _ in }
    ) -> StorageQueue.Configuration {
        var configuration = StorageQueue.Configuration()
        configuration.name = "test-\(rawValue)"
        switch self {
        case .ioUring: configuration.driver = .ioUring
        case .threads: configuration.driver = .threads(4)
        }
        change(&configuration)
        return configuration
    }

    /// The same, with every read through the driver.
    package func ringOnly(_ change: (inout StorageQueue.Configuration) -> Void = { _ in }) -> StorageQueue.Configuration
    {
        configuration {
            $0.inlineLimit = 0
            change(&$0)
        }
    }
}

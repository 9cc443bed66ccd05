import Penstock
import PenstockTesting
import Testing

/// The drivers that every test of the queue runs over.
enum Driver: String, CaseIterable, CustomTestStringConvertible {
    case ioUring, threads

    var testDescription: String { rawValue }

    /// A configuration that uses the driver, changed by `change`.
    func configuration(
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
    func ringOnly(_ change: (inout StorageQueue.Configuration) -> Void = { _ in }) -> StorageQueue.Configuration {
        configuration {
            $0.inlineLimit = 0
            change(&$0)
        }
    }
}

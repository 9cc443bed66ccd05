import Glibc
import SystemPackage

/// The driver is chosen by trying. What was refused, and why, goes into the capability report.
enum DriverSelection {
    static func make(
        _ configuration: StorageQueue.Configuration
    ) throws(StorageError) -> (any StorageDriver, [Capabilities.Feature]) {
        switch try choice(configuration) {
        case .ioUring: return try makeRing()
        case .threads(let count):
            let reason =
                configuration.driver == .automatic ? "asked for by PENSTOCK_DRIVER" : "chosen by the configuration"
            return try makeThreads(count, configuration.name, reason: reason, advice: nil)
        case .automatic:
            do throws(StorageError) {
                return try makeRing()
            } catch {
                let errno = error.errno.map { ", errno \($0.rawValue)" } ?? ""
                return try makeThreads(
                    nil, configuration.name, reason: "\(error.message)\(errno)",
                    advice: "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile, or set "
                        + "kernel.io_uring_disabled to 0")
            }
        }
    }

    private static func choice(
        _ configuration: StorageQueue.Configuration
    ) throws(StorageError) -> StorageQueue.Configuration.DriverChoice {
        guard configuration.driver == .automatic, let value = getenv("PENSTOCK_DRIVER") else {
            return configuration.driver
        }
        switch String(cString: value) {
        case "threads": return .threads()
        case "io_uring": return .ioUring
        case "", "automatic": return .automatic
        case let other:
            throw StorageError(
                .invalidArgument, .setUp,
                message: "PENSTOCK_DRIVER is \"\(other)\"; it must be threads, io_uring or automatic")
        }
    }

    private static func makeRing() throws(StorageError) -> (any StorageDriver, [Capabilities.Feature]) {
        let driver = try URingDriver()
        return (
            driver,
            [Capabilities.Feature("driver", isAvailable: true, rung: DriverKind.ioUring.rawValue)] + driver.features
        )
    }

    private static func makeThreads(
        _ count: Int?, _ name: String, reason: String, advice: String?
    ) throws(StorageError) -> (any StorageDriver, [Capabilities.Feature]) {
        let driver = try ThreadPoolDriver(threads: count, name: name)
        let feature = Capabilities.Feature(
            "driver", isAvailable: false, rung: "\(driver.threadCount) threads", reason: reason, advice: advice)
        return (driver, [feature])
    }
}

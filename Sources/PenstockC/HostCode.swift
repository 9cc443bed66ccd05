import CPenstock
import Glibc
import Logging
import Penstock

/// The host's log function as a backend of `swift-log`.
struct HostLog: LogHandler {
    // The host says that both may be used on any thread.
    private nonisolated(unsafe) let log: @convention(c) (UnsafeMutableRawPointer?, Int32, UnsafePointer<CChar>?) -> Void
    private nonisolated(unsafe) let userData: UnsafeMutableRawPointer?
    var logLevel = Logger.Level.debug
    var metadata: Logger.Metadata = [:]

    init?(_ options: penstock_runtime_options) {
        guard let log = options.log else { return nil }
        self.log = log
        userData = options.log_user_data
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line = "\(event.message)"
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
        let level =
            switch event.level {
            case .trace: PENSTOCK_LOG_TRACE
            case .debug: PENSTOCK_LOG_DEBUG
            case .info: PENSTOCK_LOG_INFO
            case .notice: PENSTOCK_LOG_NOTICE
            case .warning: PENSTOCK_LOG_WARNING
            case .error: PENSTOCK_LOG_ERROR
            case .critical: PENSTOCK_LOG_CRITICAL
            }
        line.withCString { log(userData, Int32(level), $0) }
    }
}

extension ThreadHooks {
    /// The host's, if it has any.
    init?(_ options: penstock_runtime_options) {
        guard options.thread_start != nil || options.thread_stop != nil else { return nil }
        // The host says that they may be used on the runtime's thread.
        nonisolated(unsafe) let userData = options.thread_user_data
        let (start, stop) = (options.thread_start, options.thread_stop)
        self.init(start: { start?(userData) }, stop: { stop?(userData) })
    }
}

extension SlabSource {
    /// The host's allocator, if it has one.
    init?(_ options: penstock_runtime_options) throws {
        guard options.allocate != nil || options.deallocate != nil else { return nil }
        guard let allocate = options.allocate, let deallocate = options.deallocate else {
            throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        // The host says that they may be used on any thread.
        nonisolated(unsafe) let userData = options.allocator_user_data
        self.init(
            allocate: { allocate(userData, $0, $1) },
            deallocate: { deallocate(userData, $0, $1) })
    }
}

/// Strings for the host to read for as long as there is the runtime, each kept once.
final class HostStrings: Sendable {
    private struct Kept: @unchecked Sendable {  // nobody writes them
        var strings: [String: UnsafeMutablePointer<CChar>] = [:]
    }

    private let kept = Locked(Kept())

    deinit { kept.withLock { $0.strings.values.forEach { free($0) } } }

    func keep(_ string: String) -> UnsafePointer<CChar>? {
        kept.withLock { kept in
            if let known = kept.strings[string] { return UnsafePointer(known) }
            guard let copy = strdup(string) else { return nil }
            kept.strings[string] = copy
            return UnsafePointer(copy)
        }
    }
}

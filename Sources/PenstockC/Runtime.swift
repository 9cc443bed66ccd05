// The header gives the functions their names and documentation.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase

import CPenstock
import Logging
import Penstock
import SystemPackage

/// What a `penstock_runtime` stands for.
final class Runtime: Sendable {
    private struct Children {
        /// Those too that are being closed, and may have more to report.
        var queues: [UInt64: HostedQueue] = [:]
        var files: Set<UInt64> = []
        var isClosed = false
    }

    let queue: StorageQueue
    let codecs = Codecs()
    /// Nil: callbacks run on the runtime's thread.
    let dispatch: HostDispatch?
    private let logger: Logger?
    private let children = Locked(Children())
    let strings = HostStrings()

    init(_ options: penstock_runtime_options) throws {
        var configuration = StorageQueue.Configuration()
        if let name = options.name { configuration.name = String(cString: name) }
        if options.bytes_in_flight > 0 {
            guard let bytes = Int(exactly: options.bytes_in_flight) else {
                throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
            }
            configuration.bytesInFlight = bytes
            configuration.urgentReserve = min(configuration.urgentReserve, bytes / 4)
        }
        if options.staging_bytes > 0 {
            guard let bytes = Int(exactly: options.staging_bytes) else {
                throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
            }
            configuration.stagingBytes = bytes
        }
        switch Int(options.driver) {
        case Int(PENSTOCK_DRIVER_AUTOMATIC): configuration.driver = .automatic
        case Int(PENSTOCK_DRIVER_IO_URING): configuration.driver = .ioUring
        case Int(PENSTOCK_DRIVER_THREADS):
            configuration.driver = .threads(options.threads == 0 ? nil : Int(options.threads))
        default: throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        switch Int(options.delivery) {
        case Int(PENSTOCK_DELIVER_ON_RUNTIME_THREAD): dispatch = nil
        case Int(PENSTOCK_DELIVER_ON_DISPATCH): dispatch = HostDispatch()
        default: throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        configuration.threadHooks = ThreadHooks(options)
        if let source = try SlabSource(options) { configuration.slabSource = source }
        logger = HostLog(options).map { log in Logger(label: "penstock") { _ in log } }
        queue = try StorageQueue(configuration, logger: logger)
    }

    /// Whether the calling thread is inside one of the runtime's callbacks.
    var isCallingBack: Bool {
        queue.executor.serial.isIsolatingCurrentContext() == true || dispatch?.isDelivering == true
    }

    // MARK: What belongs to it

    func adopt(_ queue: HostedQueue) throws -> UInt64 {
        let id = Handles.queues.insert(queue)
        try adopt {
            $0.queues[id] = queue
        } else: {
            _ = Handles.queues.remove(id)
        }
        return id
    }

    func adopt(_ file: HostedFile) throws -> UInt64 {
        let id = Handles.files.insert(file)
        try adopt {
            $0.files.insert(id)
        } else: {
            _ = Handles.files.remove(id)
        }
        return id
    }

    private func adopt(_ add: (inout Children) -> Void, else undo: () -> Void) throws {
        let isOpen = children.withLock { children in
            if !children.isClosed { add(&children) }
            return !children.isClosed
        }
        guard isOpen else {
            undo()
            throw Refusal(PENSTOCK_ERROR_QUEUE_CLOSED)
        }
    }

    /// Lets go of queues that have been closed and have nothing left to report: closing one in a callback does not wait.
    func forgetClosedQueues() {
        children.withLock { children in
            for (id, queue) in children.queues where queue.queue.isOver { children.queues[id] = nil }
        }
    }

    func forget(file id: UInt64) { children.withLock { _ = $0.files.remove(id) } }

    /// How many are open.
    var counts: (queues: Int, files: Int) {
        children.withLock { children in
            (children.queues.keys.count { Handles.queues.find($0) != nil }, children.files.count)
        }
    }

    /// Logs why a call has been refused, in more words than its result has.
    func logging<Value>(_ context: @autoclosure () -> String = "", _ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let error as StorageError {
            logger?.error("\(context())\(error)")
            throw error
        }
    }

    /// Ends everything, and the thread.
    func close() {
        let left = children.withLock { children in
            defer {
                // They hold their runtime.
                children = Children()
                children.isClosed = true
            }
            return children
        }
        for (id, queue) in left.queues {
            _ = Handles.queues.remove(id)
            // Waits, even if another thread has begun.
            queue.queue.close()
        }
        for id in left.files { _ = Handles.files.remove(id) }
        queue.core.shutdownBlocking()
        // Of queues that were closed in a callback, and so did not wait.
        dispatch?.close()
    }
}

extension Runtime {
    /// The runtime of a handle.
    static func find(_ handle: penstock_runtime) throws -> Runtime {
        guard let runtime = Handles.runtimes.find(handle.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        return runtime
    }
}

@c @implementation
public func penstock_runtime_create(
    _ options: UnsafePointer<penstock_runtime_options>!, _ runtime: UnsafeMutablePointer<penstock_runtime>!
) -> penstock_result {
    answer {
        guard let runtime else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        var values = penstock_runtime_options()
        if let options { try load(options, over: &values) }
        runtime.pointee = penstock_runtime(id: Handles.runtimes.insert(try Runtime(values)))
    }
}

@c @implementation
public func penstock_runtime_close(_ runtime: penstock_runtime) -> penstock_result {
    answer {
        guard try !Runtime.find(runtime).isCallingBack else { throw Refusal(PENSTOCK_ERROR_WRONG_THREAD) }
        guard let runtime = Handles.runtimes.remove(runtime.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        runtime.close()
    }
}

@c @implementation
public func penstock_runtime_query(
    _ runtime: penstock_runtime, _ info: UnsafeMutablePointer<penstock_runtime_info>!
) -> penstock_result {
    answer {
        let runtime = try Runtime.find(runtime)
        let counts = runtime.counts
        var values = penstock_runtime_info()
        let isRing = runtime.queue.capabilities.driver == .ioUring
        values.driver = UInt32(isRing ? PENSTOCK_DRIVER_IO_URING : PENSTOCK_DRIVER_THREADS)
        values.queues = UInt32(counts.queues)
        values.files = UInt32(counts.files)
        try store(values, to: info)
    }
}

@c @implementation
public func penstock_runtime_describe(
    _ runtime: penstock_runtime, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ length: UnsafeMutablePointer<Int>!
) -> penstock_result {
    answer {
        let description = try Runtime.find(runtime).queue.capabilities.description.utf8
        if capacity > 0 {
            guard let text else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
            var end = 0
            for byte in description.prefix(capacity - 1) {
                text[end] = CChar(bitPattern: byte)
                end += 1
            }
            text[end] = 0
        }
        length?.pointee = description.count
    }
}

@c @implementation
public func penstock_runtime_feature(
    _ runtime: penstock_runtime, _ number: UInt32, _ feature: UnsafeMutablePointer<penstock_feature>!
) -> penstock_result {
    answer {
        let runtime = try Runtime.find(runtime)
        let features = runtime.queue.capabilities.features
        guard Int(number) < features.count else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        let described = features[Int(number)]
        var values = penstock_feature()
        values.is_best = described.isAvailable ? 1 : 0
        values.name = runtime.strings.keep(described.name)
        values.rung = runtime.strings.keep(described.rung)
        values.reason = described.reason.flatMap(runtime.strings.keep)
        values.advice = described.advice.flatMap(runtime.strings.keep)
        try store(values, to: feature)
    }
}

@c @implementation
public func penstock_dispatch(
    _ runtime: penstock_runtime, _ most: UInt32, _ timeout: UInt64, _ delivered: UnsafeMutablePointer<UInt32>!
) -> penstock_result {
    answer {
        let count = try Runtime.find(runtime).dispatch?.deliver(most == 0 ? .max : Int(most), timeout: timeout) ?? 0
        delivered?.pointee = UInt32(clamping: count)
    }
}

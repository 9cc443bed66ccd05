// The header gives the functions their names and documentation.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase

import CPenstock
import Penstock
import PenstockVulkan
import Synchronization

/// What a `penstock_queue` stands for.
final class HostedQueue: Sendable {
    let queue: HostQueue
    let runtime: Runtime
    let sourceKind: SourceKind
    /// For people.
    private let name: String?
    /// What those enqueued from now on wait for on the GPU.
    private let waits = Locked<[ObjectIdentifier: Wait]>([:])

    /// What a queue's reads may come from.
    enum SourceKind: Sendable { case any, file, memory }

    private struct Wait: Sendable {
        /// Kept, so that no other one gets its identity.
        let device: GPUDevice
        let point: GPUSemaphorePoint
    }

    init(_ options: penstock_queue_options, on runtime: Runtime) throws {
        var configuration = HostQueue.Configuration()
        switch Int(options.source_kind) {
        case Int(PENSTOCK_SOURCE_ANY): sourceKind = .any
        case Int(PENSTOCK_SOURCE_FILE): sourceKind = .file
        case Int(PENSTOCK_SOURCE_MEMORY): sourceKind = .memory
        default: throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        name = options.name.map { String(cString: $0) }
        if options.capacity > 0 { configuration.capacity = Int(options.capacity) }
        switch Int(options.priority) {
        case Int(PENSTOCK_PRIORITY_NORMAL): configuration.priority = .normal
        case Int(PENSTOCK_PRIORITY_BACKGROUND): configuration.priority = .background
        case Int(PENSTOCK_PRIORITY_HIGH): configuration.priority = .high
        case Int(PENSTOCK_PRIORITY_URGENT): configuration.priority = .urgent
        default: throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        switch Int(options.when_full) {
        case Int(PENSTOCK_WHEN_FULL_BLOCK): configuration.whenFull = .block
        case Int(PENSTOCK_WHEN_FULL_REFUSE): configuration.whenFull = .refuse
        case Int(PENSTOCK_WHEN_FULL_GROW):
            let limit = options.capacity_limit == 0 ? HostQueue.largestCapacity : Int(options.capacity_limit)
            configuration.whenFull = .grow(limit: limit)
        default: throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        configuration.dispatch = runtime.dispatch
        configuration.settle = { completion in
            let status = UnsafeMutablePointer<penstock_status>(bitPattern: completion.payload.status)
            status?.storeResult(result(of: completion.failure))
        }
        configuration.report = { completion in
            guard let callback = UnsafeRawPointer(bitPattern: completion.payload.callback) else { return }
            var values = penstock_completion(completion)
            unsafeBitCast(callback, to: HostedQueue.Callback.self)(&values)
        }
        queue = try HostQueue(on: runtime.queue, configuration)
        self.runtime = runtime
    }

    /// Logs why a call has been refused, in more words than its result has.
    func logging<Value>(_ body: () throws -> Value) throws -> Value {
        try runtime.logging(name.map { "queue \($0): " } ?? "", body)
    }

    // MARK: Waiting on the GPU

    /// Has what is enqueued from now on wait for the point; nil: for nothing more.
    func wait(for point: GPUSemaphorePoint?, on device: GPUDevice) {
        waits.withLock { $0[ObjectIdentifier(device)] = point.map { Wait(device: device, point: $0) } }
    }

    /// What a request waits for and whom it tells on the GPU; nil: nothing and nobody.
    func synchronization(of request: penstock_request, on device: GPUDevice) -> GPUSynchronization? {
        var synchronization = GPUSynchronization(after: request.wait.points, signal: request.signal.points)
        if let wait = waits.withLock({ $0[ObjectIdentifier(device)] }) { synchronization.after.append(wait.point) }
        return synchronization.after.isEmpty && synchronization.signal.isEmpty ? nil : synchronization
    }

    /// `penstock_callback`, which a request carries as a number.
    typealias Callback = @convention(c) (UnsafePointer<penstock_completion>?) -> Void

    static func find(_ handle: penstock_queue) throws -> HostedQueue {
        guard let queue = Handles.queues.find(handle.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        return queue
    }
}

extension penstock_point {
    fileprivate var points: [GPUSemaphorePoint] {
        OpaquePointer(bitPattern: UInt(semaphore)).map { [GPUSemaphorePoint($0, value)] } ?? []
    }
}

extension penstock_completion {
    init(_ completion: borrowing HostCompletion) {
        self.init()
        struct_size = structSize(of: penstock_completion.self)
        result = PenstockC.result(of: completion.failure)
        operation = UInt32(completion.isRead ? PENSTOCK_READ : PENSTOCK_WRITE)
        os_error = completion.errno
        device_result = completion.deviceResult
        bytes = UInt64(completion.count)
        offset = completion.offset
        size = UInt64(completion.length)
        tag = completion.tag
        user_data = UnsafeMutableRawPointer(bitPattern: completion.payload.userData)
        name = UnsafePointer(bitPattern: completion.payload.name)
    }
}

extension UnsafeMutablePointer<penstock_status> {
    /// Stores a status so that who loads it sees what was written before. An atomic has its value's layout.
    func storeResult(_ result: penstock_result) {
        UnsafeMutableRawPointer(self).assumingMemoryBound(to: Atomic<penstock_status>.self).pointee
            .store(result, ordering: .releasing)
    }
}

@c @implementation
public func penstock_status_load(_ status: UnsafePointer<penstock_status>!) -> penstock_result {
    guard let status else { return code(PENSTOCK_ERROR_INVALID_ARGUMENT) }
    return UnsafeRawPointer(status).assumingMemoryBound(to: Atomic<penstock_status>.self).pointee
        .load(ordering: .acquiring)
}

@c @implementation
public func penstock_queue_create(
    _ runtime: penstock_runtime, _ options: UnsafePointer<penstock_queue_options>!,
    _ queue: UnsafeMutablePointer<penstock_queue>!
) -> penstock_result {
    answer {
        let runtime = try Runtime.find(runtime)
        guard let queue else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        var values = penstock_queue_options()
        if let options { try load(options, over: &values) }
        let hosted = try runtime.logging { try HostedQueue(values, on: runtime) }
        queue.pointee = penstock_queue(id: try runtime.adopt(hosted))
    }
}

@c @implementation
public func penstock_queue_close(_ queue: penstock_queue) -> penstock_result {
    answer {
        guard let hosted = Handles.queues.remove(queue.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        hosted.queue.close()
        hosted.runtime.forgetClosedQueues()
    }
}

@c @implementation
public func penstock_queue_query(
    _ queue: penstock_queue, _ info: UnsafeMutablePointer<penstock_queue_info>!
) -> penstock_result {
    answer {
        let status = try HostedQueue.find(queue).queue.status
        var values = penstock_queue_info()
        values.slots = UInt32(status.slots)
        values.slots_free = UInt32(status.slotsFree)
        values.bytes_pending = status.bytesPending
        values.completed = status.completed
        values.failed = status.failed
        try store(values, to: info)
    }
}

@c @implementation
public func penstock_take_errors(
    _ queue: penstock_queue, _ record: UnsafeMutablePointer<penstock_error_record>!
) -> penstock_result {
    answer {
        let queue = try HostedQueue.find(queue).queue
        // Before anything is taken: a record that cannot be written must not be lost.
        try store(penstock_error_record(), to: record)
        let errors = queue.takeErrors()
        var values = penstock_error_record()
        values.count = errors.count
        if let first = errors.first { values.first = penstock_completion(first) }
        try store(values, to: record)
    }
}

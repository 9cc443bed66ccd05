// The header gives the functions their names and documentation.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase

import CLinux
import CPenstock
import Glibc
import Penstock
import PenstockVulkan

extension HostedQueue {
    /// Enqueues one request. False: the queue is full.
    fileprivate func enqueue(_ request: penstock_request) throws -> Bool {
        let isRead = request.operation == UInt32(PENSTOCK_READ)
        guard isRead || request.operation == UInt32(PENSTOCK_WRITE), request.reserved == 0, request.hasOneTarget
        else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        var payload = HostRequest.Payload()
        payload.callback = request.callback.map { UInt(bitPattern: unsafeBitCast($0, to: Int.self)) } ?? 0
        payload.userData = UInt(bitPattern: request.user_data)
        payload.status = UInt(bitPattern: request.status)
        payload.name = UInt(bitPattern: request.name)
        guard request.memory == nil || (request.wait.semaphore == 0 && request.signal.semaphore == 0) else {
            throw Refusal(PENSTOCK_ERROR_NOT_SUPPORTED)
        }
        guard !isRead || takes(request) else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        if request.compression != UInt32(PENSTOCK_COMPRESSION_NONE) || request.source != nil {
            return try enqueueDecoded(request, payload)
        }
        guard let file = Handles.files.find(request.file.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        var hosted = HostRequest(isRead: isRead, file: file.file, offset: request.offset, place: try place(of: request))
        hosted.tag = request.tag
        hosted.deadline = request.timeout == 0 ? .max : request.timeout
        hosted.payload = payload
        hosted.owner = file
        let status = request.status
        return try queue.enqueue(hosted) { status?.storeResult(code(PENSTOCK_PENDING)) }
    }

    private func place(of request: penstock_request) throws -> HostRequest.Place {
        switch try request.target(size: request.size) {
        case .memory(let memory, let count): .memory(memory, count)
        case .slice(let slice):
            .device(try slice.synchronized(synchronization(of: request, on: slice.buffer.device)))
        case .region(let region):
            .device(
                try region.synchronized(
                    synchronization(of: request, on: region.image.device),
                    isWrite: request.operation == UInt32(PENSTOCK_WRITE)))
        }
    }

    /// Whether it comes from where the queue's reads come from.
    private func takes(_ request: penstock_request) -> Bool {
        switch sourceKind {
        case .any: true
        case .file: request.source == nil
        case .memory: request.source != nil
        }
    }
}

@c @implementation
public func penstock_enqueue(
    _ queue: penstock_queue, _ requests: UnsafePointer<penstock_request>!, _ count: Int,
    _ accepted: UnsafeMutablePointer<Int>!
) -> penstock_result {
    var done = 0
    defer { accepted?.pointee = done }
    return answer {
        let queue = try HostedQueue.find(queue)
        guard count != 0 else { return }
        // More than there can be arrive as fewer than none.
        guard count > 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        guard let requests else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        let stride = requests.pointee.struct_size
        var next = UnsafeRawPointer(requests)
        while done < count {
            var request = penstock_request()
            let source = next.assumingMemoryBound(to: penstock_request.self)
            guard source.pointee.struct_size == stride else { throw Refusal(PENSTOCK_ERROR_STRUCT_SIZE) }
            try load(source, over: &request)
            guard try queue.logging({ try queue.enqueue(request) }) else { throw Refusal(PENSTOCK_WOULD_BLOCK) }
            done += 1
            next += Int(stride)
        }
    }
}

@c @implementation
public func penstock_submit(_ queue: penstock_queue) -> penstock_result {
    answer { try HostedQueue.find(queue).queue.submit() }
}

@c @implementation
public func penstock_enqueue_status(
    _ queue: penstock_queue, _ status: UnsafeMutablePointer<penstock_status>!
) -> penstock_result {
    answer {
        let queue = try HostedQueue.find(queue).queue
        guard let status else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        // The host keeps the word until it has been set.
        let address = UInt(bitPattern: status)
        let isTaken = try queue.mark {
            status.storeResult(code(PENSTOCK_PENDING))
        } fire: { failure in
            UnsafeMutablePointer<penstock_status>(bitPattern: address)!.storeResult(result(of: failure))
            return .none
        }
        guard isTaken else { throw Refusal(PENSTOCK_WOULD_BLOCK) }
    }
}

@c @implementation
public func penstock_enqueue_event(_ queue: penstock_queue, _ event: Int32) -> penstock_result {
    answer {
        let queue = try HostedQueue.find(queue).queue
        // One of our own: the host's number may be another file's by then.
        let own = fcntl(event, F_DUPFD_CLOEXEC, 0)
        guard own >= 0 else {
            throw StorageError(errno: errno, .setUp)
        }
        do {
            let isTaken = try queue.mark { failure in
                // One that is full already says enough; to write would wait for whoever reads it.
                var state = pollfd(fd: own, events: Int16(POLLOUT), revents: 0)
                if poll(&state, 1, 0) == 1, state.revents & Int16(POLLOUT) != 0 { _ = linux_eventfd_signal(own) }
                _ = linux_close(own)
                return failure
            }
            guard isTaken else { throw Refusal(PENSTOCK_WOULD_BLOCK) }
        } catch {
            _ = linux_close(own)
            throw error
        }
    }
}

@c @implementation
public func penstock_wait(_ queue: penstock_queue, _ timeout: UInt64) -> penstock_result {
    answer {
        let queue = try HostedQueue.find(queue).queue
        guard !queue.isReporting else { throw Refusal(PENSTOCK_ERROR_WRONG_THREAD) }
        guard try queue.wait(timeout) else { throw Refusal(PENSTOCK_TIMEOUT) }
    }
}

@c @implementation
public func penstock_cancel(_ queue: penstock_queue, _ mask: UInt64, _ value: UInt64) -> penstock_result {
    answer { try HostedQueue.find(queue).queue.cancel(tag: value, mask: mask) }
}

import Synchronization
import SystemPackage

/// Requests that are more than one transfer: a task each, on the queue's executor.
extension HostQueue {
    /// What is known of such a request beforehand.
    package struct Head: Sendable {
        package var isRead: Bool
        package var offset: UInt64
        /// The bytes that count while it is pending.
        package var length: Int
        package var tag: UInt64
        package var payload: HostRequest.Payload

        package init(isRead: Bool, offset: UInt64, length: Int, tag: UInt64, payload: HostRequest.Payload) {
            self.isRead = isRead
            self.offset = offset
            self.length = length
            self.tag = tag
            self.payload = payload
        }
    }

    /// Starts a request at once, which `perform` carries out, and ends it with what that returns or throws.
    ///
    /// - Parameters:
    ///   - accept: Called once the request is certain to be taken, before anything can come of it.
    ///   - perform: Ends early when its task is cancelled.
    /// - Returns: False: the queue is full, and nothing has happened.
    package func enqueue(
        _ head: Head, accept: () -> Void, perform: @escaping @Sendable () async throws(StorageError) -> Int
    ) throws(StorageError) -> Bool {
        let admission = admit(head.length, accept) { state in
            let epoch = state.epoch
            epoch.add(1)
            state.nextTask += 1
            let number = state.nextTask
            // Under the lock, which the task's end takes: it cannot be over before it is known.
            let task = Task(executorPreference: core.executor) { [self] in
                let result: Result<Int, StorageError>
                do throws(StorageError) {
                    result = .success(try await perform())
                } catch {
                    result = .failure(error)
                }
                self.state.withLock { _ = $0.tasks.removeValue(forKey: number) }
                end(HostCompletion(head, result), in: epoch)
            }
            state.tasks[number] = (head.tag, task)
        }
        switch admission {
        case .taken: return true
        case .full: return false
        case .closed: throw StorageError(.queueClosed, head.isRead ? .read : .write)
        }
    }

    /// A request to or from a device that waits for others before it takes anything.
    func enqueueWaiting(
        _ request: borrowing HostRequest, _ slice: SinkSlice, _ accept: () -> Void
    ) throws(StorageError) -> Bool {
        let head = Head(
            isRead: request.isRead, offset: request.offset, length: request.length, tag: request.tag,
            payload: request.payload)
        var options = RequestOptions(configuration.priority, request.tag, nil, nil)
        options.deadlineNanoseconds = request.deadline
        let (isRead, file, offset, owner) = (request.isRead, request.file, request.offset, request.owner)
        return try enqueue(head, accept: accept) { [core, options] () throws(StorageError) in
            defer { withExtendedLifetime(owner) {} }
            return isRead
                ? try await core.read(file, offset, into: slice, options)
                : try await core.write(slice, file, offset, options)
        }
    }

    func cancelTasks(tag value: UInt64, mask: UInt64) {
        let tasks = state.withLock { $0.tasks.values.filter { $0.tag & mask == value & mask } }
        for (_, task) in tasks { task.cancel() }
    }
}

extension HostCompletion {
    fileprivate init(_ head: HostQueue.Head, _ result: Result<Int, StorageError>) {
        var completion = HostCompletion(
            failure: .none, errno: 0, deviceResult: 0, isRead: head.isRead, count: 0, offset: head.offset,
            length: head.length, tag: head.tag, payload: head.payload)
        switch result {
        case .success(let count): completion.count = count
        case .failure(let error):
            completion.failure = error.code.kind
            completion.errno = error.errno?.rawValue ?? 0
            completion.deviceResult = error.vulkanResult ?? 0
        }
        self = completion
    }
}

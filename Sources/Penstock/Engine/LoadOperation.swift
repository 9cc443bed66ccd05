import CLinux
import Glibc
import SystemPackage

/// A whole file read into a fresh buffer, on the ring thread: open, size, memory, read, close; one message there, one
/// answer back. A file of more than a slab is only opened here.
///
/// A file may hold more than its size says (those of `/proc` say 0) or less (one that is being truncated), so reading goes
/// on until the end of the file has been met.
final class LoadOperation: InboxMessage, @unchecked Sendable {  // after `send`, only the ring thread touches it
    private let path: FilePath
    private let priority: StoragePriority
    private let core: QueueCore
    private let done: @Sendable (Result<Loaded, StorageError>) -> Void

    /// What a load comes to.
    enum Loaded: Sendable {
        case whole(HostBuffer)
        /// More than a slab, by what is known of it: such memory may have to be mapped and touched first, a tenth of a second
        /// for a gigabyte, and the ring thread has others to serve.
        case large(StorageFile, size: Int)
    }

    private var engine: Engine?
    private var file: StorageFile?
    private var buffer: HostBuffer?
    private var filled = 0
    private var wait: MemoryWait?
    private var reading: Submission?
    private var isCancelled = false
    private var hasEnded = false
    /// A byte behind a full buffer: whether there is one tells if the file goes on.
    private let beyond = UnsafeMutablePointer<UInt8>.allocate(capacity: LoadOperation.probe)

    deinit { beyond.deallocate() }

    /// What is asked for behind a full block. Some files of `/proc` can only be read in units.
    static let probe = 4096
    /// What a file whose size is no help is given to start with.
    private static let firstGuess = 64 << 10

    init(
        _ path: FilePath, priority: StoragePriority, core: QueueCore,
        done: @escaping @Sendable (Result<Loaded, StorageError>) -> Void
    ) {
        self.path = path
        self.priority = priority
        self.core = core
        self.done = done
    }

    override func refuse() { done(.failure(StorageError(.queueClosed, .load, path: path))) }

    override func receive(in engine: Engine) {
        guard !hasEnded else { return }
        guard !engine.isStopping else { return refuse() }
        self.engine = engine
        engine.loads[ObjectIdentifier(self)] = self
        engine.open(path, .readOnly) { [self] result in
            switch result {
            case .failure(let error): finish(.failure(error.during(.load)))
            case .success(let opened):
                if let error = opened.status.typeError(path, .load) {
                    engine.driver.closeNow(opened.descriptor)
                    return finish(.failure(error))
                }
                file = StorageFile(
                    path: path, access: .readOnly, caching: .automatic, descriptor: opened.descriptor,
                    status: opened.status, core: core)
                let size = Int(clamping: opened.status.size)
                prepare(size > 0 ? size : Self.firstGuess)
            }
        }
    }

    // MARK: Memory

    private func prepare(_ size: Int) {
        guard !isCancelled else { return finish(.failure(cancelled)) }
        guard size <= SlabArena.slabSize else { return finish(.success(.large(file!, size: size))) }
        if let block = core.arena.take(size) { return read(into: block, size) }
        // Nobody may be left who returns any: those who hold it may wait for the queue to stop.
        guard engine?.isStopping != true else { return finish(.failure(cancelled)) }
        let wait = MemoryWait()
        self.wait = wait
        let core = core
        wait.begin(in: core.arena, size) { [self] grant in
            // Whoever returned the memory calls this, on whatever thread.
            core.executor.loop.send(
                Errand(
                    { [self] _ in
                        self.wait = nil
                        switch grant {
                        case .block(let block): read(into: block, size)
                        case .withdrawn: finish(.failure(cancelled))
                        case .outOfMemory: finish(.failure(StorageError(.outOfMemory, .load, path: path, length: size)))
                        }
                    },
                    refused: { if let block = grant.block { core.arena.release(block) } }))
        }
    }

    /// The file goes on behind the buffer's end.
    private func grow() {
        let size = 2 * filled
        if size <= SlabArena.slabSize, let block = core.arena.take(size) { return read(into: block, size) }
        // Who waits for memory must hold none, or two that wait for each other's would do so for ever: start over.
        buffer = nil
        filled = 0
        prepare(size)
    }

    private func read(into block: SlabArena.Block, _ size: Int) {
        let buffer = HostBuffer(block: block, count: size, arena: core.arena)
        if let old = self.buffer {
            block.address.copyMemory(from: old.storage.block.address, byteCount: filled)
        }
        self.buffer = buffer
        readOn()
    }

    // MARK: Reading

    private func readOn() {
        guard !isCancelled else { return finish(.failure(cancelled)) }
        guard let file, let buffer, let engine else { return }
        // One byte more than the size, if the block has room for it, tells at once that the file ends there.
        let capacity = buffer.storage.block.capacity
        let room = filled > buffer.count ? capacity : min(capacity, buffer.count + 1)
        // The block is full. Only a file that goes on is worth a larger one.
        let isFull = room <= filled
        let asked = isFull ? Self.probe : room - filled
        let submission = Submission(capacity: 1)
        var record = RequestRecord(
            .read, file: file,
            address: isFull ? UnsafeMutableRawPointer(beyond) : buffer.storage.block.address + filled,
            offset: UInt64(filled), length: asked, priority: priority)
        record.slab = isFull ? -1 : Int32(truncatingIfNeeded: buffer.storage.block.slab)
        submission.append(record)
        submission.submittedAt = engine.driver.now
        submission.delivery = .observer { [self] submission, index in
            guard index < 0 else { return }
            submission.delivery = .nobody
            reading = nil
            let outcome = submission.records[0].outcome
            guard outcome.failure == .none else {
                let error = StorageError(outcome, .read, file, offset: UInt64(filled), length: asked)
                return finish(.failure(error.during(.load)))
            }
            if isFull, outcome.count > 0 { return grow() }
            filled += outcome.count
            // Fewer than asked only at the end of the file.
            if outcome.count < asked { finish(.success(.whole(buffer.resized(to: filled)))) } else { readOn() }
        }
        reading = submission
        engine.admit(submission)
        if isCancelled { engine.cancel(submission) }
    }

    // MARK: Ends

    private var cancelled: StorageError {
        StorageError(engine?.isStopping == true ? .queueClosed : .cancelled, .load, path: path)
    }

    private func finish(_ result: Result<Loaded, StorageError>) {
        guard !hasEnded else { return }
        hasEnded = true
        engine?.loads[ObjectIdentifier(self)] = nil
        // The descriptor goes back with the file's last reference.
        file = nil
        buffer = nil
        done(result)
    }

    /// On the ring thread.
    func cancel() {
        guard !hasEnded, !isCancelled else { return }
        isCancelled = true
        wait?.cancel(in: core.arena)
        if let reading, let engine { engine.cancel(reading) }
    }

    /// A load that waits for memory would wait for callers that may themselves wait for the queue to stop.
    func queueIsStopping() {
        if wait != nil { cancel() }
    }
}

extension StorageError {
    /// The same error, as part of a larger operation.
    func during(_ operation: Operation) -> StorageError {
        StorageError(
            code, operation, path: path, offset: offset, length: length, errno: errno, vulkanResult: vulkanResult,
            message: message, underlying: underlying)
    }
}

extension HostBuffer {
    /// The same memory, of which `count` bytes are counted; at most what its block holds.
    func resized(to count: Int) -> HostBuffer {
        precondition(count <= storage.block.capacity)
        return HostBuffer(storage: storage, count: count)
    }
}

/// A load and its cancellation, which may come before the load has been sent.
final class LoadBox: Sendable {
    private struct State {
        var load: LoadOperation?
        var isCancelled = false
    }

    private let state = Locked(State())

    func begin(_ load: LoadOperation, on executor: StorageExecutor) {
        let isCancelled = state.withLock { state in
            state.load = load
            return state.isCancelled
        }
        executor.loop.send(load)
        if isCancelled { sendCancel(load, on: executor) }
    }

    func cancel(on executor: StorageExecutor) {
        let load = state.withLock { state in
            state.isCancelled = true
            return state.load
        }
        if let load { sendCancel(load, on: executor) }
    }

    private func sendCancel(_ load: LoadOperation, on executor: StorageExecutor) {
        executor.loop.send(Errand({ _ in load.cancel() }, refused: {}))
    }
}

public import Logging

/// A queue that moves bytes between files and memory: an actor whose executor is its completion loop.
///
/// ```swift
/// let queue = try StorageQueue()
/// let file = try await queue.open("level1.bin")
/// let buffer = try await queue.allocate(byteCount: 1 << 20)
/// let count = try await queue.read(from: file, at: 0, into: buffer[...])
/// await queue.shutdown()
/// ```
///
/// The methods that move bytes are `nonisolated` and may be called from any task, any number at a time. The caller's
/// memory is never touched after a call has returned, whether it returned bytes, failed, or was cancelled.
///
/// A queue that is dropped without ``shutdown()`` does the same as that method, blocking for what is still in flight.
/// After `fork()` without `exec`, the child must not use the parent's queues: their threads stay with the parent.
public actor StorageQueue {
    package nonisolated let core: QueueCore

    /// Starts a queue: a thread and its driver, which takes a fraction of a millisecond.
    ///
    /// - Parameters:
    ///   - configuration: Limits and choices.
    ///   - logger: Where to log; nil: nowhere.
    /// - Throws: ``StorageError/Code/invalidArgument`` for a configuration that makes no sense,
    ///   ``StorageError/Code/unavailable`` when a thread, or the one driver asked for, cannot be had.
    public init(_ configuration: Configuration = .init(), logger: Logger? = nil) throws(StorageError) {
        core = try QueueCore(configuration, logger: logger, driver: DriverSelection.make)
    }

    /// Starts a queue on a driver of the caller's; for `PenstockTesting`.
    package init(
        _ configuration: Configuration, logger: Logger?, driver: @escaping QueueCore.DriverMaker
    ) throws(StorageError) {
        core = try QueueCore(configuration, logger: logger, driver: driver)
    }

    deinit { core.abandon() }

    /// The thread that the queue's completion loop runs on. Tasks that prefer it read without any change of thread.
    public nonisolated var executor: StorageExecutor { core.executor }

    /// The executor as the actor's own.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { core.executor.serial.asUnownedSerialExecutor() }

    /// On which rung each feature stands on this machine, and why.
    ///
    /// A GPU's features are among them from the first request that uses the GPU on.
    public nonisolated var capabilities: Capabilities { core.allCapabilities }

    /// The limits and choices that the queue was made with.
    public nonisolated var configuration: Configuration { core.configuration }

    /// What the queue has done and where it stands.
    public var statistics: Statistics { core.engine.statistics(inline: core.inlineRecorder) }

    /// Waits for every request to end, then ends the queue's thread and joins it.
    ///
    /// Requests made from now on end with ``StorageError/Code/queueClosed``, and so does at its next step what is done in
    /// several of them (see ``barrier()``). Buffers stay valid, and so do open files,
    /// which can then only be dropped. Called from the queue's own executor, it returns when every request has ended,
    /// and the thread ends by itself.
    public nonisolated func shutdown() async { await core.shutdown() }

    /// Asks every request to end whose tag, under the mask, is the value.
    ///
    /// The calls concerned throw ``StorageError/Code/cancelled`` once the kernel is done with their memory, or succeed if
    /// they were too far on. Reads that are finished on their caller's own thread are never concerned.
    /// - Returns: How many requests were asked to end.
    @discardableResult
    public func cancel(tag value: UInt64, mask: UInt64 = .max) -> Int {
        core.engine.cancel(tag: value, mask: mask) + core.companions.cancel(tag: value, mask: mask)
    }

    /// Has the queue look for copies that GPUs have finished: for applications that drive completion from their frame loop
    /// (`GPUDevice.Adoption.pollsCompletions`). Returns at once; from any thread.
    public nonisolated func poll() { core.executor.loop.send(Errand({ _ in }, refused: {})) }

    /// Returns when everything asked for before has ended. What is asked for afterwards waits for that.
    ///
    /// Reads that are finished on their caller's own thread do not wait, nor is waited for those whose caller still waits for
    /// memory. Requests that are done in several steps (loads, those that decode or encode, and copies between the host and a GPU)
    /// are waited for step by step: those that are between two of them may end later.
    public nonisolated func barrier() async throws(StorageError) {
        try await core.errand(.sync) { engine, done in engine.barrier { done(.success(())) } }
    }
}

/// Calls `body` with a queue that is shut down when it returns or throws.
///
/// ```swift
/// let bytes = try await withStorageQueue { queue in
///     try await queue.load("level1.bin")
/// }
/// ```
public func withStorageQueue<R>(
    _ configuration: StorageQueue.Configuration = .init(), logger: Logger? = nil,
    _ body: (StorageQueue) async throws -> R
) async throws -> R {
    let queue = try StorageQueue(configuration, logger: logger)
    let result: Result<R, any Error>
    do {
        result = .success(try await body(queue))
    } catch {
        result = .failure(error)
    }
    await queue.shutdown()
    return try result.get()
}

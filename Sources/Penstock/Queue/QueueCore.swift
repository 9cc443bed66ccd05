import CLinux
import Glibc
import Logging
import Synchronization
import SystemPackage

/// What a queue, its files and its buffers share, on whatever thread. The ring thread's own state is in ``Engine``.
package final class QueueCore: Sendable {
    package typealias DriverMaker =
        @Sendable (StorageQueue.Configuration) throws(StorageError) -> (any StorageDriver, [Capabilities.Feature])

    let configuration: StorageQueue.Configuration
    let executor = StorageExecutor()
    let arena: SlabArena
    let arenaID: ObjectIdentifier
    /// The devices that requests have been made for.
    package let sinks: SinkTable
    /// What other modules keep for the queue.
    let companions = CompanionTable()
    let pool = SubmissionPool()
    let inlineRecorder = InlineRecorder()
    let capabilities: Capabilities
    let logger: Logger?
    /// Reads up to this size are tried on the caller's thread; 0 where the driver has no kernel descriptors.
    let inlineLimit: Int
    let usesKernelDescriptors: Bool
    let engine: Engine
    private let thread: RingThread
    private let joined = Atomic<Bool>(false)
    /// Set when the shutdown begins; what is finished on its caller's thread has nobody else to ask.
    let isClosed = Atomic<Bool>(false)

    /// Starts the ring thread and waits until its driver stands, a fraction of a millisecond.
    package init(
        _ configuration: StorageQueue.Configuration, logger: Logger?, driver makeDriver: @escaping DriverMaker
    ) throws(StorageError) {
        try configuration.validate()
        let arena = SlabArena(limit: configuration.hostMemoryLimit, source: configuration.slabSource)
        let sinks = SinkTable()
        let loop = executor.loop
        // A ring belongs to the thread that made it, so the thread makes its own and reports back.
        let start = Handover<Result<(Engine, [Capabilities.Feature]), StorageError>>()
        let thread = try RingThread(name: configuration.name) {
            let made: Result<(Engine, [Capabilities.Feature]), StorageError>
            do throws(StorageError) {
                let (driver, features) = try makeDriver(configuration)
                let engine = Engine(
                    loop: loop, driver: driver, configuration: configuration, arena: arena, sinks: sinks,
                    logger: logger)
                made = .success((engine, features))
            } catch {
                made = .failure(error)
            }
            guard case .success((let engine, _)) = made else { return start.give(made) }
            loop.adopt(engine)
            configuration.threadHooks?.start()
            start.give(made)
            engine.run()
            configuration.threadHooks?.stop()
        }
        let engine: Engine
        let features: [Capabilities.Feature]
        do throws(StorageError) {
            (engine, features) = try start.take().get()
        } catch {
            thread.join()
            throw error
        }
        self.configuration = configuration
        self.logger = logger
        self.arena = arena
        self.sinks = sinks
        arenaID = ObjectIdentifier(arena)
        self.engine = engine
        self.thread = thread
        usesKernelDescriptors = engine.driver.usesKernelDescriptors
        // Of any size, it may be multiplied.
        inlineLimit = engine.driver.usesKernelDescriptors ? min(configuration.inlineLimit, SlabArena.largestLimit) : 0
        capabilities = Capabilities(driver: engine.driver.kind, features: features)
        logger?.debug(
            "storage queue started",
            metadata: ["queue": "\(configuration.name)", "driver": "\(engine.driver.kind.rawValue)"])
    }

    // MARK: Shutting down

    /// Waits for every completion, ends the thread and joins it. Any number of callers may.
    func shutdown() async {
        isClosed.store(true, ordering: .relaxed)
        companions.stop()
        await Answer.wait { answer in
            executor.loop.send(Errand({ engine in engine.stop { answer.give(()) } }, refused: { answer.give(()) }))
        }
        // What somebody's codec is at may take its time: no thread of the tasks' is to stand still for it.
        await companions.ended()
        join()
    }

    /// The same for a thread that may block. On the queue's own thread it returns at once.
    package func shutdownBlocking() {
        abandon()
    }

    /// The queue was dropped: the same, without a task to suspend.
    func abandon() {
        // What is sent to a queue that has ended has a thread of its own started for it.
        guard !joined.load(ordering: .acquiring) else { return }
        isClosed.store(true, ordering: .relaxed)
        companions.stop()
        executor.loop.send(Errand({ $0.stop() }, refused: {}))
        join()
    }

    private func join() {
        guard !joined.exchange(true, ordering: .acquiringAndReleasing) else { return }
        // A thread cannot wait for its own end; it has nothing left to touch but itself.
        if thread.isCurrent { thread.detach() } else { thread.join() }
        companions.join()
    }

    func checkOpen(_ operation: StorageError.Operation, _ path: FilePath) throws(StorageError) {
        if isClosed.load(ordering: .relaxed) { throw StorageError(.queueClosed, operation, path: path) }
    }

    // MARK: Errands

    /// Has the ring thread do something that answers once, and waits for the answer.
    package func errand<T: Sendable>(
        _ operation: StorageError.Operation,
        _ body: @escaping @Sendable (Engine, @escaping @Sendable (Result<T, StorageError>) -> Void) -> Void
    ) async throws(StorageError) -> T {
        let result = await Answer.wait { (answer: Answer<Result<T, StorageError>>) in
            let refuse = { @Sendable in answer.give(.failure(StorageError(.queueClosed, operation))) }
            executor.loop.send(
                Errand(
                    { engine in if engine.isStopping { refuse() } else { body(engine) { answer.give($0) } } },
                    refused: refuse))
        }
        return try result.get()
    }
}

/// One value from one thread to another, which blocks until it is there.
private final class Handover<Value>: @unchecked Sendable {  // `value` is guarded by `lock`
    private var lock = pthread_mutex_t()
    private var given = pthread_cond_t()
    private var value: Value?

    init() {
        pthread_mutex_init(&lock, nil)
        pthread_cond_init(&given, nil)
    }

    deinit {
        pthread_cond_destroy(&given)
        pthread_mutex_destroy(&lock)
    }

    func give(_ value: Value) {
        pthread_mutex_lock(&lock)
        self.value = value
        pthread_cond_signal(&given)
        pthread_mutex_unlock(&lock)
    }

    func take() -> Value {
        pthread_mutex_lock(&lock)
        defer { pthread_mutex_unlock(&lock) }
        while value == nil { pthread_cond_wait(&given, &lock) }
        return value!
    }
}

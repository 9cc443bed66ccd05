import Glibc

/// What the executing thread holds on to: the fake only while it has something to do.
private final class ExecutorContext {
    weak var fake: FakeVulkan?
    let monitor: Monitor

    init(_ fake: FakeVulkan) {
        self.fake = fake
        monitor = fake.monitor
    }

    func run() {
        while true {
            monitor.lock()
            let generation = monitor.generation
            let isClosing = monitor.isClosing
            monitor.unlock()
            guard !isClosing, let ran = fake?.executeIfAutomatic() else { return }
            if ran { continue }
            monitor.lock()
            while monitor.generation == generation, !monitor.isClosing { _ = monitor.wait(until: nil) }
            monitor.unlock()
        }
    }
}

extension FakeVulkan {
    /// Starts the thread that executes what is submitted, once, if the fake is automatic.
    func startExecutor() {
        let isNeeded = locked { fake in
            defer { if fake.isAutomatic { fake.hasExecutor = true } }
            return fake.isAutomatic && !fake.hasExecutor
        }
        guard isNeeded else { return }
        let context = Unmanaged.passRetained(ExecutorContext(self))
        var thread = pthread_t()
        let error = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<ExecutorContext>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        precondition(error == 0, "pthread_create: \(error)")
        pthread_detach(thread)
    }

    fileprivate func executeIfAutomatic() -> Bool {
        locked { $0.isAutomatic && $0.executeNext(nil, false) }
    }
}

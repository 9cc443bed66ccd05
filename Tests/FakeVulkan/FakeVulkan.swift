import CVulkan
import Glibc

/// A Vulkan driver in memory that performs what it is told, and writes down every rule that the caller breaks.
///
/// Drive it through ``getInstanceProcAddr``, with handles from ``makeHandles(enabling:)`` or, after
/// ``becomeCurrent()``, from `vkCreateInstance`. At the end of a test, `violations` and `liveObjects` should be empty.
/// Handles do not keep the fake: a test must, for as long as anything can call.
///
/// `@unchecked Sendable`: `monitor`'s mutex guards every stored variable, and all that the handles lead to.
package final class FakeVulkan: @unchecked Sendable {
    package let configuration: Configuration
    /// The lock that a test hands to the library for a queue that others submit to as well.
    package let queueLock = QueueLock()

    let monitor = Monitor()
    /// The function that is running under the monitor, for messages.
    var function = ""
    var calls: [String: Int] = [:]
    var faults: [String: [Int: VkResult]]
    var messages: [String] = []
    var hook: (@Sendable (String) -> Void)?
    var lost = false
    /// Every handle ever given out, so that those of a dead fake lead nowhere.
    var handles: [UInt] = []
    var liveCounts: [Kind: Int] = [:]

    // Memory
    var allocatedBytes: UInt64 = 0
    var allocatedBytesOfHeap: [Int: UInt64] = [:]
    var allocationCount = 0
    var importCount = 0
    var imports: [UInt: ClosedRange<UInt>] = [:]

    // Execution
    var isAutomatic: Bool
    var hasExecutor = false
    var order: UInt64 = 0
    var queues: [FakeQueue] = []
    /// Executed, but the host has not learned it yet; what they use still counts as in flight.
    var unobserved: [Batch] = []
    var observed = SyncClock()
    var heldSignals: [HeldSignal] = []
    var accesses: [UInt: [Access]] = [:]

    package init(_ configuration: Configuration = Configuration()) {
        self.configuration = configuration
        faults = configuration.faults
        isAutomatic = configuration.execution == .automatic
        queueLock.onMisuse = { [weak self] message in self?.locked { $0.report("queue lock", message) } }
        startExecutor()
    }

    deinit {
        HandleRegistry.shared.remove(handles)
        monitor.lock()
        monitor.isClosing = true
        monitor.wakeAll()
        monitor.unlock()
    }

    /// What `vkGetInstanceProcAddr` is; the same function for every fake.
    package var getInstanceProcAddr: PFN_vkGetInstanceProcAddr { Self.vkGetInstanceProcAddr }

    // MARK: What a test asks

    /// Every rule that was broken, in order: the function, the rule, and what happened.
    package var violations: [String] { locked { $0.messages } }

    /// Returns the violations so far and forgets them.
    package func takeViolations() -> [String] {
        locked { fake in
            defer { fake.messages = [] }
            return fake.messages
        }
    }

    /// How often a function was called, by its core name.
    package func count(of function: String) -> Int { locked { $0.calls[function] ?? 0 } }

    /// What was made and not destroyed yet. Handles from ``makeHandles(enabling:)`` do not count.
    package var liveObjects: [Kind: Int] { locked { $0.liveCounts.filter { $0.value != 0 } } }

    /// The bytes of memory that are allocated now, without imports.
    package var liveMemoryBytes: UInt64 { locked { $0.allocatedBytes } }

    // MARK: What a test does

    /// Makes the function's call with this number, counted from 1 since the start, return the result and do no more.
    package func fail(_ function: String, at call: Int, with result: VkResult) {
        locked { $0.faults[function, default: [:]][call] = result }
    }

    /// Makes the next call of the function return the result and do no more.
    package func failNext(_ function: String, with result: VkResult) {
        locked { $0.faults[function, default: [:]][($0.calls[function] ?? 0) + 1] = result }
    }

    /// Loses the device: nothing that was submitted will run, and every call that can says so.
    package func loseDevice() {
        locked { $0.lose() }
    }

    /// Is called inside of every function, with its name, before it does anything and without the fake's lock. While it
    /// runs, what the function needs to have to itself counts as in use by this thread.
    package func setHook(_ hook: (@Sendable (_ function: String) -> Void)?) {
        locked { $0.hook = hook }
    }

    // MARK: For the parts

    func locked<Result>(_ body: (FakeVulkan) throws -> Result) rethrows -> Result {
        monitor.lock()
        defer { monitor.unlock() }
        return try body(self)
    }

    /// Writes a broken rule down.
    func report(_ rule: String, _ message: String) {
        // Enough to see what goes wrong; a loop that goes wrong should not use up all memory.
        guard messages.count < 1000 else { return }
        messages.append("\(function): \(rule): \(message)")
    }

    /// Writes a broken rule down unless the condition holds, and returns the condition.
    @discardableResult
    func require(_ condition: Bool, _ rule: String, _ message: @autoclosure () -> String) -> Bool {
        if !condition { report(rule, message()) }
        return condition
    }

    func lose() {
        lost = true
        for queue in queues { queue.pending.removeAll() }
        unobserved.removeAll()
        heldSignals.removeAll()
        accesses.removeAll()
        // What was in flight will not run, and may be destroyed.
        for handle in handles { HandleRegistry.shared.find(handle)?.inFlight = 0 }
        monitor.wakeAll()
    }
}

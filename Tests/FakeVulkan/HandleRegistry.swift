import CVulkan
import Glibc

/// Leads from handles to objects, for all fakes of the process: a C function gets nothing else to go by.
///
/// `@unchecked Sendable`: the mutex guards the table. It is held for a look-up only, never while another lock is taken.
final class HandleRegistry: @unchecked Sendable {
    static let shared = HandleRegistry()

    private let monitor = Monitor()
    private var objects: [UInt: FakeObject] = [:]
    // Handles are never used twice, so that one of a destroyed object is recognised.
    private var next: UInt = 0x1000
    private var stray: [String] = []

    /// Gives the object its handle. Destroyed objects stay until their fake goes.
    func add(_ object: FakeObject) {
        monitor.lock()
        defer { monitor.unlock() }
        next += 16
        object.handle = next
        objects[next] = object
    }

    func find(_ handle: UInt) -> FakeObject? {
        monitor.lock()
        defer { monitor.unlock() }
        return objects[handle]
    }

    func remove(_ handles: [UInt]) {
        monitor.lock()
        let removed = handles.map { objects.removeValue(forKey: $0) }
        monitor.unlock()
        // The objects go here, after the lock.
        withExtendedLifetime(removed) {}
    }

    /// Calls with handles of no fake at all.
    func addStray(_ message: String) {
        monitor.lock()
        defer { monitor.unlock() }
        stray.append(message)
    }

    var strays: [String] {
        monitor.lock()
        defer { monitor.unlock() }
        return stray
    }
}

extension FakeVulkan {
    /// Calls that had no handle of any living fake, from the whole process.
    package static var strayCalls: [String] { HandleRegistry.shared.strays }

    /// Makes functions without an instance, `vkCreateInstance` first of all, mean this fake on the calling thread.
    package func becomeCurrent() {
        Self.setCurrent(self)
    }

    /// Leaves the calling thread without a fake: `vkCreateInstance` says VK_ERROR_INCOMPATIBLE_DRIVER.
    package static func resignCurrent() {
        setCurrent(nil)
    }

    /// Is current on the calling thread while the body runs.
    package func withCurrent<Result>(_ body: () throws -> Result) rethrows -> Result {
        let previous = Self.current
        becomeCurrent()
        defer { Self.setCurrent(previous) }
        return try body()
    }

    static var current: FakeVulkan? {
        pthread_getspecific(currentKey).map { Unmanaged<FakeVulkan>.fromOpaque($0).takeUnretainedValue() }
    }

    private static func setCurrent(_ fake: FakeVulkan?) {
        let previous = pthread_getspecific(currentKey)
        pthread_setspecific(currentKey, fake.map { UnsafeRawPointer(Unmanaged.passRetained($0).toOpaque()) })
        if let previous { Unmanaged<FakeVulkan>.fromOpaque(previous).release() }
    }

    /// The thread's value is a retained fake; the destructor releases it when the thread ends.
    private static let currentKey: pthread_key_t = {
        var key = pthread_key_t()
        pthread_key_create(&key) { value in
            if let value { Unmanaged<FakeVulkan>.fromOpaque(value).release() }
        }
        return key
    }()
}

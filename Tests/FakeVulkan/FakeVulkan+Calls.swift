import CVulkan
import Glibc

/// What every C function does first: find the fake, count, let the test have its say, check who else is inside.
extension FakeVulkan {
    /// Runs a function that returns nothing to fail with.
    static func call<Object: FakeObject, Result>(
        _ function: String, _ handle: OpaquePointer?, _ type: Object.Type, alone other: OpaquePointer? = nil,
        otherwise: Result, _ body: (FakeVulkan, Object) -> Result
    ) -> Result {
        guard let (fake, object) = find(handle, type, function) else { return otherwise }
        return fake.run(function, object, other) { fault in
            // A function that cannot fail can still be where the device is lost.
            if fault == VK_ERROR_DEVICE_LOST { fake.lose() }
            return body(fake, object)
        }
    }

    /// Runs a function that returns a result.
    static func command<Object: FakeObject>(
        _ function: String, _ handle: OpaquePointer?, _ type: Object.Type, alone other: OpaquePointer? = nil,
        canLose: Bool = false, _ body: (FakeVulkan, Object) -> VkResult
    ) -> VkResult {
        guard let (fake, object) = find(handle, type, function) else { return VK_ERROR_UNKNOWN }
        return fake.run(function, object, other) { fault in
            if fault == VK_ERROR_DEVICE_LOST { fake.lose() }
            if let fault { return fault }
            if canLose, fake.lost { return VK_ERROR_DEVICE_LOST }
            return body(fake, object)
        }
    }

    /// Runs a function that has no handle yet, on the thread's current fake.
    static func global(_ function: String, _ body: (FakeVulkan) -> VkResult) -> VkResult {
        guard let fake = current else {
            HandleRegistry.shared.addStray("\(function): no fake is current on this thread")
            return VK_ERROR_INCOMPATIBLE_DRIVER
        }
        return fake.run(function, nil, nil) { fault in fault ?? body(fake) }
    }

    private static func find<Object: FakeObject>(
        _ handle: OpaquePointer?, _ type: Object.Type, _ function: String
    ) -> (FakeVulkan, Object)? {
        guard let handle, let found = HandleRegistry.shared.find(UInt(bitPattern: handle)), let fake = found.fake else {
            HandleRegistry.shared.addStray("\(function): \(String(describing: handle)) is no handle of a living fake")
            return nil
        }
        return fake.locked { fake in
            fake.function = function
            return fake.resolve(handle, type).map { (fake, $0) }
        }
    }

    private func run<Result>(
        _ function: String, _ object: FakeObject?, _ other: OpaquePointer?, _ body: (_ fault: VkResult?) -> Result
    ) -> Result {
        var alone = object?.alone ?? []
        if let other, let found = HandleRegistry.shared.find(UInt(bitPattern: other)) { alone.append(found) }

        monitor.lock()
        self.function = function
        let call = (calls[function] ?? 0) + 1
        calls[function] = call
        let fault = faults[function]?[call]
        let hook = hook
        let mine = alone.filter(enter)
        monitor.unlock()
        // Here another thread can get in, which it must not.
        if let hook { hook(function) } else if !mine.isEmpty { sched_yield() }
        monitor.lock()
        self.function = function
        defer {
            for object in mine { object.user = nil }
            monitor.unlock()
        }
        return body(fault)
    }

    /// Takes the object for the calling thread. False: somebody has it, which is a violation unless it is this thread.
    private func enter(_ object: FakeObject) -> Bool {
        let me = pthread_self()
        if let user = object.user {
            require(user == me, "UNASSIGNED-Threading-MultipleThreads", "\(object.name) is in use by another thread")
            return false
        }
        object.user = me
        return true
    }
}

extension FakeVulkan {
    /// Checks what a structure says that it is.
    func checkType(_ actual: VkStructureType, _ expected: VkStructureType, _ structure: String) {
        require(
            actual == expected, "VUID-\(structure)-sType-sType", "\(actual.rawValue) instead of \(expected.rawValue)")
    }
}

/// The structures of a chain.
func chain(_ next: UnsafeRawPointer?) -> [(type: VkStructureType, address: UnsafeRawPointer)] {
    var links: [(type: VkStructureType, address: UnsafeRawPointer)] = []
    var next = next
    while let address = next {
        let base = address.load(as: VkBaseInStructure.self)
        links.append((base.sType, address))
        next = base.pNext.map { UnsafeRawPointer($0) }
    }
    return links
}

/// The structure of this type in a chain.
func link<Structure>(_ next: UnsafeRawPointer?, _ type: VkStructureType, as: Structure.Type) -> Structure? {
    chain(next).first { $0.type == type }?.address.load(as: Structure.self)
}

/// The elements of a C array.
func list<Element, Count: BinaryInteger>(_ start: UnsafePointer<Element>?, _ count: Count) -> [Element] {
    Array(UnsafeBufferPointer(start: start, count: start == nil ? 0 : Int(count)))
}

/// Gives out a list the way Vulkan's enumerations do: the count alone, or as much as there is room for.
func giveOut<Element>(
    _ elements: [Element], _ count: UnsafeMutablePointer<UInt32>?, _ room: UnsafeMutablePointer<Element>?
) -> VkResult {
    guard let count else { return VK_ERROR_UNKNOWN }
    guard let room else {
        count.pointee = UInt32(elements.count)
        return VK_SUCCESS
    }
    let given = min(Int(count.pointee), elements.count)
    for index in 0..<given { (room + index).initialize(to: elements[index]) }
    count.pointee = UInt32(given)
    return given < elements.count ? VK_INCOMPLETE : VK_SUCCESS
}

/// Writes a string into a C array that Swift sees as a tuple.
func write<Tuple>(_ string: String, into tuple: inout Tuple) {
    withUnsafeMutableBytes(of: &tuple) { bytes in
        bytes.copyBytes(from: string.utf8.prefix(bytes.count - 1))
    }
}

/// Writes elements into a C array that Swift sees as a tuple.
func write<Tuple, Element>(_ elements: [Element], into tuple: inout Tuple) {
    withUnsafeMutableBytes(of: &tuple) { bytes in
        let array = bytes.bindMemory(to: Element.self)
        for (index, element) in elements.enumerated() { array[index] = element }
    }
}

import CVulkan
import Glibc

extension FakeVulkan {
    /// What a handle stands for.
    package enum Kind: String, Sendable {
        case instance, physicalDevice, device, queue, memory, buffer, image, commandPool, commandBuffer, semaphore
        case messenger
        case shaderModule, setLayout, pipelineLayout, pipeline, descriptorPool, descriptorSet
    }
}

/// What a handle leads to. Its fake's monitor guards everything that varies.
class FakeObject {
    class var kind: FakeVulkan.Kind { fatalError("every class has its own") }
    var kind: FakeVulkan.Kind { Self.kind }

    weak var fake: FakeVulkan?
    var handle: UInt = 0
    var isDestroyed = false
    /// Made by `makeHandles`, and so somebody else's to destroy.
    var isAdopted = false
    /// How many submissions use it of which the host does not know that they are done.
    var inFlight = 0
    /// The thread that is inside a call which must have it alone, and how deep.
    var user: pthread_t?

    /// What a call through this handle must have to itself.
    var alone: [FakeObject] { [] }

    init(_ fake: FakeVulkan) {
        self.fake = fake
        HandleRegistry.shared.add(self)
        fake.handles.append(handle)
    }

    var pointer: OpaquePointer { OpaquePointer(bitPattern: handle)! }
    var name: String { "\(kind) \(String(handle, radix: 16))" }
}

final class FakeInstance: FakeObject {
    override class var kind: FakeVulkan.Kind { .instance }
    var extensions: Set<String> = []
    var physicalDevice: FakePhysicalDevice?
}

final class FakePhysicalDevice: FakeObject {
    override class var kind: FakeVulkan.Kind { .physicalDevice }
}

final class FakeMessenger: FakeObject {
    override class var kind: FakeVulkan.Kind { .messenger }
}

final class FakeDevice: FakeObject {
    override class var kind: FakeVulkan.Kind { .device }
    var extensions: Set<String> = []
    var hasTimelineSemaphores = false
    var hasSynchronization2 = false
    var features: FakeVulkan.Features = []
    /// By family and index.
    var queues: [[FakeQueue]] = []
    /// How many objects of the device are alive, by kind.
    var children: [FakeVulkan.Kind: Int] = [:]
}

/// An object of a device.
class FakeDeviceObject: FakeObject {
    unowned let device: FakeDevice

    init(_ fake: FakeVulkan, _ device: FakeDevice) {
        self.device = device
        super.init(fake)
    }
}

extension FakeVulkan {
    /// Counts a new object as alive.
    func born(_ object: FakeObject) {
        guard !object.isAdopted else { return }
        liveCounts[object.kind, default: 0] += 1
        (object as? FakeDeviceObject)?.device.children[object.kind, default: 0] += 1
    }

    /// Marks an object as destroyed. False: it must not be, because it is not there or not the caller's.
    @discardableResult
    func die(_ object: FakeObject, inUse rule: String = "in use") -> Bool {
        require(
            object.inFlight == 0, rule, "\(object.name) is used by a submission that the host does not know to be done")
        guard require(!object.isAdopted, "adopted", "\(object.name) belongs to somebody else") else { return false }
        object.isDestroyed = true
        liveCounts[object.kind, default: 0] -= 1
        (object as? FakeDeviceObject)?.device.children[object.kind, default: 0] -= 1
        return true
    }

    /// What a handle leads to, if it is a living object of this fake, the kind asked for, and the device.
    func resolve<Object: FakeObject>(
        _ handle: OpaquePointer?, _ type: Object.Type, of device: FakeDevice? = nil
    ) -> Object? {
        guard let handle else {
            report("handle", "no \(type.kind) given")
            return nil
        }
        guard let found = HandleRegistry.shared.find(UInt(bitPattern: handle)) else {
            report("handle", "\(handle) is no handle of any fake")
            return nil
        }
        guard let object = found as? Object else {
            report("handle", "\(found.name) is no \(type.kind)")
            return nil
        }
        guard object.fake === self else {
            report("handle", "\(object.name) belongs to another fake")
            return nil
        }
        guard !object.isDestroyed else {
            report("handle", "\(object.name) has been destroyed")
            return nil
        }
        if let device, let child = object as? FakeDeviceObject, child.device !== device {
            report("commonparent", "\(object.name) belongs to another device")
            return nil
        }
        return object
    }
}

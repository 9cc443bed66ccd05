// The header gives the functions their names and documentation.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase

import CPenstock
import Penstock
import PenstockVulkan

/// What a `penstock_buffer` stands for.
final class HostedBuffer: Sendable {
    let buffer: GPUBuffer

    init(_ buffer: GPUBuffer) { self.buffer = buffer }
}

extension Handles {
    static let devices = HandleTable<GPUDevice>()
    static let buffers = HandleTable<HostedBuffer>()

    static func device(_ handle: penstock_device) throws -> GPUDevice {
        guard let device = devices.find(handle.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        return device
    }
}

extension GPUDevice.Adoption {
    init(_ options: penstock_device_options) throws {
        guard options.reserved == 0,
            options.enabled & ~UInt32(PENSTOCK_ENABLED_MEMORY_HOST | PENSTOCK_ENABLED_MEMORY_BUDGET) == 0,
            (options.lock == nil) == (options.unlock == nil),
            let instance = OpaquePointer(bitPattern: UInt(bitPattern: options.instance)),
            let physicalDevice = OpaquePointer(bitPattern: UInt(bitPattern: options.physical_device)),
            let device = OpaquePointer(bitPattern: UInt(bitPattern: options.device)),
            let queue = OpaquePointer(bitPattern: UInt(bitPattern: options.queue))
        else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        self.init(
            instance: instance, physicalDevice: physicalDevice, device: device, queue: queue,
            queueFamily: options.queue_family)
        if options.enabled & UInt32(PENSTOCK_ENABLED_MEMORY_HOST) != 0 { enabled.insert(.externalMemoryHost) }
        if options.enabled & UInt32(PENSTOCK_ENABLED_MEMORY_BUDGET) != 0 { enabled.insert(.memoryBudget) }
        if let lock = options.lock, let unlock = options.unlock {
            // The host says that both may be called on the runtimes' threads.
            nonisolated(unsafe) let userData = options.lock_user_data
            submitMode = .locked(lock: { lock(userData) }, unlock: { unlock(userData) })
        }
        if let loader = options.get_instance_proc_addr {
            // The same function: opaque handles are pointers on both sides.
            functionLoader = unsafeBitCast(loader, to: FunctionLoader.self)
        }
    }
}

@c @implementation
public func penstock_device_adopt(
    _ options: UnsafePointer<penstock_device_options>!, _ device: UnsafeMutablePointer<penstock_device>!
) -> penstock_result {
    answer {
        guard let device else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        var values = penstock_device_options()
        try load(options, over: &values)
        device.pointee = penstock_device(id: Handles.devices.insert(try GPUDevice(adopting: .init(values))))
    }
}

@c @implementation
public func penstock_device_create(_ device: UnsafeMutablePointer<penstock_device>!) -> penstock_result {
    answer {
        guard let device else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        device.pointee = penstock_device(id: Handles.devices.insert(try GPUDevice()))
    }
}

@c @implementation
public func penstock_device_query(
    _ device: penstock_device, _ info: UnsafeMutablePointer<penstock_device_info>!
) -> penstock_result {
    answer {
        let device = try Handles.device(device)
        var values = penstock_device_info()
        values.queue_family = device.queueFamily
        values.instance = UnsafeMutableRawPointer(device.instance)
        values.physical_device = UnsafeMutableRawPointer(device.physicalDevice)
        values.device = UnsafeMutableRawPointer(device.device)
        values.queue = UnsafeMutableRawPointer(device.queue)
        values.is_lost = device.isLost ? 1 : 0
        try store(values, to: info)
    }
}

@c @implementation
public func penstock_device_close(_ device: penstock_device) -> penstock_result {
    answer {
        guard Handles.devices.remove(device.id) != nil else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
    }
}

@c @implementation
public func penstock_buffer_adopt(
    _ device: penstock_device, _ handle: UInt64, _ size: UInt64, _ buffer: UnsafeMutablePointer<penstock_buffer>!
) -> penstock_result {
    answer {
        let device = try Handles.device(device)
        guard let buffer, let native = OpaquePointer(bitPattern: UInt(handle)), size > 0,
            let count = Int(exactly: size)
        else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        let adopted = HostedBuffer(device.adopt(buffer: native, byteCount: count))
        buffer.pointee = penstock_buffer(id: Handles.buffers.insert(adopted))
    }
}

@c @implementation
public func penstock_buffer_create(
    _ device: penstock_device, _ size: UInt64, _ usage: UInt32, _ buffer: UnsafeMutablePointer<penstock_buffer>!
) -> penstock_result {
    answer {
        let device = try Handles.device(device)
        guard let buffer, let count = Int(exactly: size) else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        let made = HostedBuffer(try device.makeBuffer(byteCount: count, usage: usage))
        buffer.pointee = penstock_buffer(id: Handles.buffers.insert(made))
    }
}

@c @implementation
public func penstock_buffer_close(_ buffer: penstock_buffer) -> penstock_result {
    answer {
        guard Handles.buffers.remove(buffer.id) != nil else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
    }
}

@c @implementation
public func penstock_enqueue_wait(
    _ queue: penstock_queue, _ device: penstock_device, _ semaphore: UInt64, _ value: UInt64
) -> penstock_result {
    answer {
        let hosted = try HostedQueue.find(queue)
        let handle = OpaquePointer(bitPattern: UInt(semaphore))
        hosted.wait(for: handle.map { GPUSemaphorePoint($0, value) }, on: try Handles.device(device))
    }
}

@c @implementation
public func penstock_enqueue_signal(
    _ queue: penstock_queue, _ device: penstock_device, _ semaphore: UInt64, _ value: UInt64
) -> penstock_result {
    answer {
        let hosted = try HostedQueue.find(queue)
        let device = try Handles.device(device)
        guard semaphore != 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        let isTaken = try hosted.queue.mark { [runtime = hosted.runtime] failure in
            let handle = OpaquePointer(bitPattern: UInt(semaphore))!
            // Nobody is left to be told but the log: what was in front of it has its own results.
            _ = try? runtime.logging { try device.signal(handle, value) }
            return failure
        }
        guard isTaken else { throw Refusal(PENSTOCK_WOULD_BLOCK) }
    }
}

/// A part of a device's memory, as a request's destination or source.
package struct SinkSlice: Sendable {
    package let device: any SinkDevice
    /// Keeps the memory alive, and knows how the host may use it.
    package let memory: any SinkMemory
    /// The sink's own name for the memory.
    package let handle: UInt64
    /// Where in it, in bytes.
    package let offset: UInt64
    package let count: Int
    package let options: SinkOptions?
    /// What is wrong with it, so that a batch can say so of the request that has it.
    package let problem: String?

    package init(
        device: any SinkDevice, memory: any SinkMemory, handle: UInt64, offset: UInt64, count: Int,
        options: SinkOptions? = nil, problem: String? = nil
    ) {
        self.device = device
        self.memory = memory
        self.handle = handle
        self.offset = offset
        self.count = count
        self.options = options
        self.problem = problem
    }

    package var target: SinkTarget { SinkTarget(handle: handle, offset: offset, options: options) }

    /// Where the host may write the slice's bytes itself; nil: nowhere, or not for this request.
    var mapped: UnsafeMutableRawPointer? {
        guard options == nil, let start = memory.mapped else { return nil }
        return start + Int(offset)
    }
}

/// Memory of a device.
package protocol SinkMemory: AnyObject, Sendable {
    /// Where the host may write it, if it may, and shall.
    var mapped: UnsafeMutableRawPointer? { get }
    /// The host has written so many bytes at the offset; the device must see them.
    func hostDidWrite(_ count: Int, at offset: UInt64)
    /// The kernel could not write there: ``mapped`` is nil from now on.
    func refuseHostWrites()
}

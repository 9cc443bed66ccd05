/// A part of a device's memory, as a request's destination or source.
///
/// One reference only in most: small requests cannot afford to count more, on cache lines that all cores share.
package struct SinkSlice: Sendable {
    /// Keeps the memory alive, and knows how the host may use it.
    package let memory: any SinkMemory
    /// The memory's device, to compare without touching a reference count.
    let deviceID: ObjectIdentifier
    /// The sink's own name for the memory.
    package let handle: UInt64
    /// Where in it, in bytes.
    package let offset: UInt64
    package let count: Int
    package let options: SinkOptions?
    private let refusal: Refusal?
    private let mayBeMapped: Bool

    /// An error is ten times as large as the rest of a slice, of which batches hold thousands.
    private final class Refusal: Sendable {
        let error: StorageError
        init(_ error: StorageError) { self.error = error }
    }

    package init(
        device: any SinkDevice, memory: any SinkMemory, handle: UInt64, offset: UInt64, count: Int,
        options: SinkOptions? = nil, problem: StorageError? = nil
    ) {
        deviceID = ObjectIdentifier(device)
        self.memory = memory
        self.handle = handle
        self.offset = offset
        self.count = count
        self.options = options
        refusal = problem.map(Refusal.init)
        mayBeMapped = options == nil && memory.mapped != nil
    }

    /// What is wrong with it, so that a batch can say so of the request that has it.
    package var problem: StorageError? { refusal?.error }

    /// A range of the slice's bytes, of one that has no options.
    package func part(_ range: Range<Int>) -> SinkSlice {
        SinkSlice(
            device: memory.sinkDevice, memory: memory, handle: handle, offset: offset + UInt64(range.lowerBound),
            count: range.count, problem: problem)
    }

    /// The slice as one that no request can have, for this reason.
    package func refused(_ problem: StorageError) -> SinkSlice {
        SinkSlice(
            device: memory.sinkDevice, memory: memory, handle: handle, offset: offset, count: count, options: options,
            problem: problem)
    }

    package var target: SinkTarget { SinkTarget(handle: handle, offset: offset, options: options) }

    /// Where the host may write the slice's bytes itself; nil: nowhere, or not for this request.
    package var mapped: UnsafeMutableRawPointer? {
        guard mayBeMapped, let start = memory.mapped else { return nil }
        return start + Int(offset)
    }
}

/// Memory of a device.
package protocol SinkMemory: AnyObject, Sendable {
    var sinkDevice: any SinkDevice { get }
    /// Where the host may write it, if it may, and shall.
    var mapped: UnsafeMutableRawPointer? { get }
    /// Whether the host reads there as fast as it writes, as decoders do.
    var isReadable: Bool { get }
    /// The host has written so many bytes at the offset; the device must see them.
    func hostDidWrite(_ count: Int, at offset: UInt64)
    /// The kernel could not write there: ``mapped`` is nil from now on.
    func refuseHostWrites()
}

import CVulkan
import Penstock

/// What a transfer waits for and who hears of it on the GPU, beside the call that made it.
///
/// The application's semaphores must live until the call has returned; of `submit`, until the ticket's point is reached.
public struct GPUSynchronization: Sendable {
    /// Timeline semaphores of the application's, and the values that they must reach before the transfer touches the GPU's
    /// memory. The transfer begins once the values are reached, and takes neither memory nor a place in the queue before:
    /// nothing of anybody else's waits meanwhile.
    /// The queue's shutdown ends those that still wait, with ``Penstock/StorageError/Code/queueClosed``.
    public var after: [GPUSemaphorePoint]
    /// Timeline semaphores of the application's that reach their values when all bytes are there. Each value must be larger
    /// than all that its semaphore has, or has pending; a semaphore is one storage queue's to signal. Not signalled if the
    /// transfer fails: whoever waits on the GPU must be told otherwise. Not for devices whose ``SubmitMode`` is
    /// ``SubmitMode/recorded``, whose application submits.
    public var signal: [GPUSemaphorePoint]
    /// The queue family that owns the memory afterwards, where it is of exclusive use and that family another one: it must
    /// carry out the matching acquire barrier, see ``GPUBuffer/Slice/acquireBarrier(by:)``.
    public var newOwner: UInt32?

    /// Names what to wait for and whom to tell.
    public init(after: [GPUSemaphorePoint] = [], signal: [GPUSemaphorePoint] = [], newOwner: UInt32? = nil) {
        self.after = after
        self.signal = signal
        self.newOwner = newOwner
    }

    var isNone: Bool { after.isEmpty && signal.isEmpty && newOwner == nil }

    /// Refuses what Vulkan must not be asked for: values that do not rise (VUID-VkSubmitInfo2-semaphore-03882).
    func check(_ device: GPUDevice) throws(StorageError) {
        guard signal.isEmpty || device.submits else {
            throw StorageError(
                .invalidArgument, .copy,
                message: "what is recorded cannot signal; have the submission of the command buffer do so")
        }
        for point in signal {
            guard let value = Timeline.value(of: point.semaphore, device), value >= point.value else { continue }
            throw StorageError(
                .invalidArgument, .copy,
                message: "a timeline semaphore at \(value) cannot be signalled with \(point.value); values must rise")
        }
        if let newOwner, newOwner == device.queueFamily || newOwner >= device.physical.queueFamilies.count {
            throw StorageError(
                .invalidArgument, .copy, message: "queue family \(newOwner) cannot become the owner of this memory")
        }
    }
}

/// A transfer that has been submitted: what to wait for on the GPU before its bytes are used.
public struct GPUTicket: Sendable {
    /// Reached when the bytes are there. The semaphore is the storage queue's: wait for it, never signal it. It lives until
    /// the queue has shut down.
    public let point: GPUSemaphorePoint
    /// The bytes moved: fewer than asked only at the end of the file.
    public let count: Int
}

/// The second half of a change of owner: what the new owner records before it uses the memory. Put the values into a
/// `VkBufferMemoryBarrier2` or, one for each of `subresources`, a `VkImageMemoryBarrier2`; the source scopes are empty.
public struct GPUAcquireBarrier: @unchecked Sendable {  // handles for any thread
    /// Levels and layers of an image.
    public struct Subresource: Sendable, Hashable {
        /// The mip level.
        public let mip: UInt32
        /// The array layers.
        public let layers: Range<UInt32>
    }

    /// The `VkBuffer` or `VkImage`.
    public let handle: OpaquePointer
    /// The family that gave it away.
    public let sourceFamily: UInt32
    /// The family that gets it.
    public let family: UInt32
    /// Of a buffer: which bytes.
    public let range: Range<UInt64>
    /// Of an image: from which layout. The same as in the release.
    public let oldLayout: GPUImageLayout
    /// Of an image: to which layout.
    public let newLayout: GPUImageLayout
    /// Of an image: which parts of it.
    public let subresources: [Subresource]
}

extension GPUBuffer.Slice {
    /// What the family records before it uses bytes that were read for it, see ``GPUSynchronization/newOwner``.
    public func acquireBarrier(by family: UInt32) -> GPUAcquireBarrier {
        GPUAcquireBarrier(
            handle: buffer.handle, sourceFamily: buffer.device.queueFamily, family: family,
            range: UInt64(max(0, range.lowerBound))..<UInt64(max(0, range.upperBound)), oldLayout: .undefined,
            newLayout: .undefined, subresources: [])
    }
}

extension GPUImage.Region {
    /// What the family records before it uses the texels, see ``GPUSynchronization/newOwner``.
    ///
    /// - Parameters:
    ///   - family: The new owner.
    ///   - isWrite: The transfer was a write, from the image to a file or to memory, and not a read.
    public func acquireBarrier(by family: UInt32, afterWrite isWrite: Bool = false) -> GPUAcquireBarrier {
        let isGeneral = oldLayout == .general && newLayout == .general
        return GPUAcquireBarrier(
            handle: image.handle, sourceFamily: image.device.queueFamily, family: family, range: 0..<0,
            oldLayout: isGeneral ? .general : isWrite ? .transferSource : .transferDestination, newLayout: newLayout,
            subresources: ranges.map {
                .init(mip: $0.baseMipLevel, layers: $0.baseArrayLayer..<$0.baseArrayLayer + $0.layerCount)
            })
    }
}

import CVulkan
import Penstock
import Synchronization

/// What few transfers need: an image, semaphores of the application's, a new owner, a ticket.
final class TransferDetails: @unchecked Sendable {  // constant but for atomics and what the ring thread alone touches
    /// Must be reached before the device touches the bytes.
    let after: [GPUSemaphorePoint]
    /// Reached once all bytes have been moved.
    let signal: [GPUSemaphorePoint]
    /// The queue family that gets the memory afterwards.
    let newOwner: UInt32?
    /// Ends the request when its copies have been submitted, not when they are done.
    let endsOnSubmit: Bool
    /// Where the timeline stands once the copies are done.
    let submittedValue = Atomic<UInt64>(0)
    /// What must live until the device has done with it, where no suspended caller sees to that.
    let memory: any SinkMemory
    let image: ImageTransfer?
    /// Of a buffer: how much of it the new owner gets.
    let byteCount: Int
    /// Ring thread: the image has been brought into the layout for copies, and not yet into its final one.
    var hasBegun = false
    /// Ring thread: a piece of it has failed, which its engine may not have heard of when it hands over the next.
    var hasFailed = false

    init(
        memory: any SinkMemory, after: [GPUSemaphorePoint] = [], signal: [GPUSemaphorePoint] = [],
        newOwner: UInt32? = nil, endsOnSubmit: Bool = false, image: ImageTransfer? = nil,
        byteCount: Int = 0
    ) {
        self.byteCount = byteCount
        self.memory = memory
        self.after = after
        self.signal = signal
        self.newOwner = newOwner
        self.endsOnSubmit = endsOnSubmit
        self.image = image
    }

    /// Ring thread: a piece has ended. The last of them leaves nothing behind: the request may be performed again.
    func pieceEnded(failed: Bool, isLast: Bool) { hasFailed = !isLast && (hasFailed || failed) }

    /// The details as a request carries them.
    var options: SinkOptions { options(decoding: nil) }

    /// The same of a request whose bytes are decoded on the device. It cannot end when it is submitted, since nobody knows
    /// then whether its pages are sound.
    func options(decoding: SinkDecoding?) -> SinkOptions {
        precondition(decoding == nil || (image == nil && !endsOnSubmit))
        return SinkOptions(
            layout: image, details: self,
            isSynchronized: !after.isEmpty || !signal.isEmpty || endsOnSubmit || newOwner != nil,
            waits: !after.isEmpty, decoding: decoding)
    }
}

/// A timeline semaphore and a value of it.
public struct GPUSemaphorePoint: Hashable, @unchecked Sendable {  // the handle is for any thread
    /// The `VkSemaphore`, of type `VK_SEMAPHORE_TYPE_TIMELINE`.
    public let semaphore: OpaquePointer
    /// The value.
    public let value: UInt64

    /// Names a value of a timeline semaphore.
    public init(_ semaphore: OpaquePointer, _ value: UInt64) {
        self.semaphore = semaphore
        self.value = value
    }
}

/// An image as a transfer's destination or source.
final class ImageTransfer: SinkLayout, @unchecked Sendable {  // the handle is for any thread
    let image: VkImage
    let copy: ImageCopy
    /// Mip levels and layers that the transfer touches, each range once.
    let ranges: [VkImageSubresourceRange]
    let oldLayout: VkImageLayout
    let newLayout: VkImageLayout

    init(
        image: VkImage, copy: ImageCopy, ranges: [VkImageSubresourceRange], from old: VkImageLayout,
        to new: VkImageLayout
    ) {
        self.image = image
        self.copy = copy
        self.ranges = ranges
        oldLayout = old
        newLayout = new
    }

    /// The layout that the copies themselves use.
    func copyLayout(intoDevice: Bool) -> VkImageLayout {
        if oldLayout == VK_IMAGE_LAYOUT_GENERAL, newLayout == VK_IMAGE_LAYOUT_GENERAL { return VK_IMAGE_LAYOUT_GENERAL }
        return intoDevice ? VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL : VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL
    }

    func pieceLength(at start: Int, limit: Int) -> Int { copy.pieceLength(at: start, limit: limit) }
    func wholeBytes(from start: Int, count: Int) -> Int { copy.wholeBytes(from: start, count: count) }
    var offsetAlignment: Int { copy.offsetAlignment }
}

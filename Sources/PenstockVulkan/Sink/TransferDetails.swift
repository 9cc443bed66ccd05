import CVulkan
import Penstock
import Synchronization

/// What few transfers need: an image, semaphores of the application's, a ticket.
final class TransferDetails: @unchecked Sendable {  // written before it is sent; the ticket is atomic
    /// Must be reached before the device touches the bytes.
    let after: [GPUSemaphorePoint]
    /// Reached once all bytes have been moved.
    let signal: [GPUSemaphorePoint]
    /// Ends the request when its copies have been submitted, not when they are done.
    let endsOnSubmit: Bool
    /// Where the timeline stands once the copies are done.
    let submittedValue = Atomic<UInt64>(0)
    /// What must live until the device has done with it, where no suspended caller sees to that.
    let memory: any SinkMemory
    let image: ImageTransfer?

    init(
        memory: any SinkMemory, after: [GPUSemaphorePoint] = [], signal: [GPUSemaphorePoint] = [],
        endsOnSubmit: Bool = false, image: ImageTransfer? = nil
    ) {
        self.memory = memory
        self.after = after
        self.signal = signal
        self.endsOnSubmit = endsOnSubmit
        self.image = image
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

/// An image as a transfer's destination or source. To come.
final class ImageTransfer: Sendable {}

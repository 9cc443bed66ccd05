import Penstock
import Synchronization

extension StorageQueue {
    /// Reads from a file into a slice of a GPU buffer, and returns as soon as the copies have been submitted: work on the GPU
    /// can wait for the ticket without the CPU.
    ///
    /// - Parameters:
    ///   - file: A file of this queue, open for reading.
    ///   - offset: Where to start, in bytes.
    ///   - slice: Where the bytes go; its length is how many are asked for.
    ///   - priority: How soon it matters; nil: the task's priority, following its escalation.
    ///   - deadline: When to give up, with ``Penstock/StorageError/Code/deadlineExceeded``.
    ///   - tag: For ``Penstock/StorageQueue/cancel(tag:mask:)``.
    ///   - label: The request's name in traces.
    ///   - synchronization: What to wait for and whom to tell on the GPU.
    /// - Returns: What to wait for, and how many bytes there will be.
    public nonisolated func submit(
        from file: StorageFile, at offset: UInt64 = 0, into slice: GPUBuffer.Slice, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> GPUTicket {
        try synchronization?.check(slice.buffer.device)
        return try await submit(
            file, offset, slice.sinkSlice(synchronization, endsOnSubmit: true), slice.buffer.device,
            RequestOptions(priority, tag, label, deadline))
    }

    /// The same for parts of an image.
    public nonisolated func submit(
        from file: StorageFile, at offset: UInt64 = 0, into region: GPUImage.Region, priority: StoragePriority? = nil,
        deadline: ContinuousClock.Instant? = nil, tag: UInt64 = 0, label: String? = nil,
        synchronization: GPUSynchronization? = nil
    ) async throws(StorageError) -> GPUTicket {
        try synchronization?.check(region.image.device)
        return try await submit(
            file, offset, region.sinkSlice(synchronization, endsOnSubmit: true), region.image.device,
            RequestOptions(priority, tag, label, deadline))
    }

    private nonisolated func submit(
        _ file: StorageFile, _ offset: UInt64, _ slice: SinkSlice, _ device: GPUDevice, _ options: RequestOptions
    ) async throws(StorageError) -> GPUTicket {
        let count = try await core.read(file, offset, into: slice, options)
        let details = slice.options.map { unsafeDowncast($0.details as AnyObject, to: TransferDetails.self) }
        let sink = core.sinks[try core.sinkIndex(of: device)] as! GPUSink
        let value = details?.submittedValue.load(ordering: .acquiring) ?? 0
        return GPUTicket(point: GPUSemaphorePoint(sink.timeline.handle, value), count: count)
    }

    /// Records everything that waits for the device into a command buffer of the application's, for devices whose
    /// ``PenstockVulkan/SubmitMode`` is ``PenstockVulkan/SubmitMode/recorded``.
    ///
    /// The application then submits the command buffer, once and on the device's queue family, with the returned point among
    /// what the submission signals; the requests end when it is reached. Submissions must happen in the order of their
    /// points. A request that was recorded and never submitted never ends, and nor does the queue's shutdown.
    ///
    /// Where pages are decoded on the device, the command buffer's compute pipeline, descriptor sets and push constants are
    /// others afterwards.
    ///
    /// - Parameters:
    ///   - device: The device that the requests go to.
    ///   - commandBuffer: A `VkCommandBuffer` that is being recorded, outside a render pass. Nobody else may record into it
    ///     until the call returns.
    /// - Returns: What the submission must signal; nil: nothing was recorded.
    public nonisolated func recordTransfers(
        to device: GPUDevice, into commandBuffer: OpaquePointer
    ) async throws(StorageError) -> GPUSemaphorePoint? {
        guard !device.submits else {
            throw StorageError(
                .invalidArgument, .copy, message: "this device submits by itself; adopt it with the mode `.recorded`")
        }
        // Recorded into by one thread at a time, which its caller has to see to.
        nonisolated(unsafe) let buffer = commandBuffer
        return try await core.withSink(of: device) { ($0 as! GPUSink).recordPending(into: buffer) }
    }
}

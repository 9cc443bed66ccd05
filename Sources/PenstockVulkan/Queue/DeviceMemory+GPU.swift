public import Penstock

extension GPUBuffer.Slice: DeviceMemory {
    /// The slice as the queue knows it.
    public var place: DevicePlace {
        DevicePlace(sinkSlice()) { range, decoding throws(StorageError) in
            let start = self.range.lowerBound
            return try buffer[start + range.lowerBound..<start + range.upperBound].decodingSlice(decoding)
        }
    }
}

extension GPUImage.Region: DeviceMemory {
    /// The region as the queue knows it.
    public var place: DevicePlace { DevicePlace(sinkSlice()) }
}

/// A GPU's memory, and what a transfer there waits for and whom it tells on the GPU: for verbs that take any
/// ``Penstock/DeviceMemory``, such as those that decode. What is decoded is then decoded by the processor.
///
/// ```swift
/// try await queue.read(
///     from: file, chunks: chunks, into: buffer[...].synchronized(by: GPUSynchronization(signal: [point])), decoding: Zstd())
/// ```
public struct SynchronizedGPUMemory: DeviceMemory {
    /// How many bytes the memory holds.
    public let count: Int
    /// The memory as the queue knows it.
    public let place: DevicePlace

    fileprivate init(_ slice: SinkSlice, _ synchronization: GPUSynchronization, on device: GPUDevice) {
        count = slice.count
        do throws(StorageError) {
            try synchronization.check(device)
            place = DevicePlace(slice)
        } catch {
            place = DevicePlace(slice.refused(error))
        }
    }
}

extension GPUBuffer.Slice {
    /// The slice for one transfer that is synchronized on the GPU. What is wrong with the semaphores' values, that transfer says.
    public func synchronized(by synchronization: GPUSynchronization) -> SynchronizedGPUMemory {
        SynchronizedGPUMemory(sinkSlice(synchronization), synchronization, on: buffer.device)
    }
}

extension GPUImage.Region {
    /// The region for one transfer that is synchronized on the GPU. What is wrong with the semaphores' values, that transfer says.
    public func synchronized(by synchronization: GPUSynchronization) -> SynchronizedGPUMemory {
        SynchronizedGPUMemory(sinkSlice(synchronization), synchronization, on: image.device)
    }
}

public import Penstock

extension GPUBuffer.Slice: DeviceMemory {
    /// The slice as the queue knows it.
    public var place: DevicePlace { DevicePlace(sinkSlice()) }
}

extension GPUImage.Region: DeviceMemory {
    /// The region as the queue knows it.
    public var place: DevicePlace { DevicePlace(sinkSlice()) }
}

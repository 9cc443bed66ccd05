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

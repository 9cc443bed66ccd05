/// Memory of a device that bytes can be read into: slices of a GPU's buffers, and parts of its images.
///
/// Other modules' verbs take any such memory without knowing the device's module.
public protocol DeviceMemory: Sendable {
    /// How many bytes the memory holds.
    var count: Int { get }
    /// The memory as the queue knows it.
    var place: DevicePlace { get }
}

/// Where on a device bytes go, as the queue knows it.
public struct DevicePlace: Sendable {
    /// A range of the memory as the destination of pages that the device decodes.
    package typealias Decoding = @Sendable (Range<Int>, SinkDecoding) throws(StorageError) -> SinkSlice

    package let slice: SinkSlice
    /// Nil: the device cannot decode into such memory.
    package let decoding: Decoding?

    package init(_ slice: SinkSlice, decoding: Decoding? = nil) {
        self.slice = slice
        self.decoding = decoding
    }
}

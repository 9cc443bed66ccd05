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
    package let slice: SinkSlice

    package init(_ slice: SinkSlice) { self.slice = slice }
}

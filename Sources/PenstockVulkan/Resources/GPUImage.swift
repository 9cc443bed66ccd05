import CVulkan
import Penstock

/// A Vulkan image that requests read into and write from: one made by its device, or the application's.
///
/// A handle, like ``GPUBuffer``. What a request moves is a ``Region``: some subresources, in the order in which the file has
/// them.
///
/// ```swift
/// let texture = try device.makeImage(.init(format: 145, width: 1024, height: 1024, mipLevels: 11))  // BC7
/// try await queue.read(from: file, at: header, into: texture.whole())
/// ```
public struct GPUImage: Sendable {
    package let storage: Storage

    /// The device that the image is of.
    public var device: GPUDevice { storage.device }
    /// The `VkImage`.
    public var handle: OpaquePointer { storage.handle }
    /// How the image is made up.
    public var description: Description { storage.description }
    /// Bytes of all its levels and layers, tightly packed.
    public var byteCount: Int { storage.shape.byteCount }

    /// How an image is made up. Sizes are texels.
    public struct Description: Sendable, Hashable {
        /// A `VkFormat`: colour formats of one plane, the BCn, ETC2, EAC and ASTC ones among them.
        public var format: UInt32
        /// Texels of mip level 0 from left to right.
        public var width: Int
        /// Texels of mip level 0 from top to bottom.
        public var height: Int
        /// Slices of mip level 0 of a 3D image; 1 for all others.
        public var depth: Int
        /// Mip levels, mip level 0 included.
        public var mipLevels: Int
        /// Array layers; six for each cube.
        public var arrayLayers: Int
        /// Which of `VK_IMAGE_TYPE_1D`, `2D` and `3D`; nil: 3D if the depth is more than 1, else 2D.
        public var dimensions: Int?
        /// Whether cube views of it are to be made (`VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT`).
        public var isCube: Bool

        /// Describes an image.
        public init(
            format: UInt32, width: Int, height: Int = 1, depth: Int = 1, mipLevels: Int = 1, arrayLayers: Int = 1,
            dimensions: Int? = nil, isCube: Bool = false
        ) {
            self.format = format
            self.width = width
            self.height = height
            self.depth = depth
            self.mipLevels = mipLevels
            self.arrayLayers = arrayLayers
            self.dimensions = dimensions
            self.isCube = isCube
        }
    }

    /// In which order a file has the levels and layers of an image, each tightly packed.
    public enum Order: Sendable, CaseIterable {
        /// For each mip level, the largest first: all layers.
        case mips
        /// For each mip level, the smallest first: all layers. As in KTX 2.
        case mipsSmallestFirst
        /// For each layer: all mip levels, the largest first. As in DDS.
        case layers
    }
}

extension GPUImage {
    /// The image itself.
    package final class Storage: SinkMemory, @unchecked Sendable {  // handles for any thread
        package let device: GPUDevice
        package let handle: VkImage
        let description: Description
        let shape: ImageShape
        /// Of an image of the application's it is not known.
        let usage: GPUDevice.ImageUsage?
        private let allocation: GPUHeap.Allocation?

        init(
            _ device: GPUDevice, _ handle: VkImage, _ description: Description, _ shape: ImageShape,
            _ usage: GPUDevice.ImageUsage?, _ allocation: GPUHeap.Allocation?
        ) {
            self.device = device
            self.handle = handle
            self.description = description
            self.shape = shape
            self.usage = usage
            self.allocation = allocation
        }

        deinit {
            guard let allocation else { return }
            device.functions.destroyImage(device.device, handle, nil)
            device.heap.free(allocation)
        }

        // An image's texels lie as the driver likes.
        package var mapped: UnsafeMutableRawPointer? { nil }
        package func hostDidWrite(_ count: Int, at offset: UInt64) {}
        package var sinkDevice: any SinkDevice { device }
        package func refuseHostWrites() {}
        package var isReadable: Bool { false }
    }
}

extension GPUDevice {
    /// What an image is for, beside copies: bits of `VkImageUsageFlags`.
    public typealias ImageUsage = UInt32

    /// Makes an image on the device, with optimal tiling.
    ///
    /// - Parameters:
    ///   - description: How it is made up.
    ///   - usage: What it is for, as `VkImageUsageFlags`; copying in both directions is added. Sampling, unless you say
    ///     otherwise: only then may it be brought into the layout ``GPUImageLayout/shaderReadOnly``.
    /// - Throws: ``Penstock/StorageError/Code/invalidArgument`` for numbers that no image has,
    ///   ``Penstock/StorageError/Code/notSupported`` for formats with depth, stencil, several planes or three channels.
    public func makeImage(
        _ description: GPUImage.Description, usage: ImageUsage = 4  // VK_IMAGE_USAGE_SAMPLED_BIT
    ) throws(StorageError) -> GPUImage {
        let shape = try Self.shape(of: description)
        try checkSupport(description, usage)
        var handle: VkImage?
        let result = createImage(&handle, description, usage)
        guard result == VK_SUCCESS else {
            note(result)
            throw VulkanFailure(result, "vkCreateImage").error(.allocate, length: shape.byteCount)
        }
        do throws(StorageError) {
            var requirements = VkMemoryRequirements()
            functions.getImageMemoryRequirements(device, handle, &requirements)
            let allocation = try heap.allocate(
                requirements, required: [], wanted: [VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT], isImage: true)
            let bound = functions.bindImageMemory(device, handle, allocation.memory, allocation.offset)
            guard bound == VK_SUCCESS else {
                heap.free(allocation)
                note(bound)
                throw VulkanFailure(bound, "vkBindImageMemory").error(.allocate, length: shape.byteCount)
            }
            return GPUImage(storage: .init(self, handle!, description, shape, usage, allocation))
        } catch {
            functions.destroyImage(device, handle, nil)
            throw error
        }
    }

    /// Uses an image of the application's, which stays its own: with optimal tiling, bound to memory, and made with
    /// `VK_IMAGE_USAGE_TRANSFER_DST_BIT` for reads from files, `VK_IMAGE_USAGE_TRANSFER_SRC_BIT` for writes.
    public func adopt(image: OpaquePointer, _ description: GPUImage.Description) throws(StorageError) -> GPUImage {
        GPUImage(storage: .init(self, image, description, try Self.shape(of: description), nil, nil))
    }

    private static func shape(of description: GPUImage.Description) throws(StorageError) -> ImageShape {
        guard let block = TexelBlock(format: VkFormat(rawValue: description.format)) else {
            throw StorageError(
                .notSupported, .allocate,
                message: "VkFormat \(description.format) has no texel blocks of one plane of colour; use one that has")
        }
        if let problem = description.problem { throw StorageError(.invalidArgument, .allocate, message: problem) }
        do throws(ImageShapeProblem) {
            return try ImageShape(
                block: block, width: description.width, height: description.height, depth: description.depth,
                mipLevels: description.mipLevels, arrayLayers: description.arrayLayers)
        } catch {
            throw StorageError(.invalidArgument, .allocate, message: "\(error)")
        }
    }

    /// Asks the driver before it is asked for the image: what it does not have, it need not refuse.
    private func checkSupport(_ image: GPUImage.Description, _ usage: ImageUsage) throws(StorageError) {
        let info = Self.info(image, usage)
        var most = VkImageFormatProperties()
        let result = instanceFunctions.getPhysicalDeviceImageFormatProperties(
            physicalDevice, info.format, info.imageType, info.tiling, info.usage, info.flags, &most)
        guard result != VK_ERROR_FORMAT_NOT_SUPPORTED else {
            throw StorageError(
                .notSupported, .allocate, vulkanResult: result.rawValue,
                message: "\(name) has no such images of VkFormat \(image.format), for this usage")
        }
        guard result == VK_SUCCESS else {
            throw VulkanFailure(result, "vkGetPhysicalDeviceImageFormatProperties").error(.allocate)
        }
        guard info.extent.width <= most.maxExtent.width, info.extent.height <= most.maxExtent.height,
            info.extent.depth <= most.maxExtent.depth, info.mipLevels <= most.maxMipLevels,
            info.arrayLayers <= most.maxArrayLayers
        else {
            throw StorageError(
                .notSupported, .allocate,
                message: """
                    \(name) has such images of VkFormat \(image.format) of at most \(most.maxExtent.width) × \
                    \(most.maxExtent.height) × \(most.maxExtent.depth) texels, \(most.maxMipLevels) mip levels and \
                    \(most.maxArrayLayers) layers
                    """)
        }
    }

    private static func info(_ image: GPUImage.Description, _ usage: ImageUsage) -> VkImageCreateInfo {
        var info = VkImageCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO
        info.flags = image.isCube ? VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT.rawValue : 0
        switch image.actualDimensions {
        case 1: info.imageType = VK_IMAGE_TYPE_1D
        case 3: info.imageType = VK_IMAGE_TYPE_3D
        default: info.imageType = VK_IMAGE_TYPE_2D
        }
        info.format = VkFormat(rawValue: image.format)
        info.extent = VkExtent3D(
            width: UInt32(image.width), height: UInt32(image.height), depth: UInt32(image.depth))
        info.mipLevels = UInt32(image.mipLevels)
        info.arrayLayers = UInt32(image.arrayLayers)
        info.samples = VK_SAMPLE_COUNT_1_BIT
        info.tiling = VK_IMAGE_TILING_OPTIMAL
        info.usage = usage | VK_IMAGE_USAGE_TRANSFER_SRC_BIT.rawValue | VK_IMAGE_USAGE_TRANSFER_DST_BIT.rawValue
        return info
    }

    private func createImage(_ handle: inout VkImage?, _ image: GPUImage.Description, _ usage: ImageUsage) -> VkResult {
        var info = Self.info(image, usage)
        return sharingFamilies.withUnsafeBufferPointer { families in
            if families.count > 1 {
                info.sharingMode = VK_SHARING_MODE_CONCURRENT
                info.queueFamilyIndexCount = UInt32(families.count)
                info.pQueueFamilyIndices = families.baseAddress
            }
            return functions.createImage(device, &info, nil, &handle)
        }
    }
}

extension GPUImage.Description {
    var actualDimensions: Int { dimensions ?? (depth > 1 ? 3 : 2) }

    /// What no Vulkan image is (VUID-VkImageCreateInfo-flags-00949, -imageType-00956 to -00961, -imageType-00954).
    fileprivate var problem: String? {
        switch actualDimensions {
        case 1: if height != 1 || depth != 1 { return "a 1D image of \(width) × \(height) × \(depth) texels" }
        case 2: if depth != 1 { return "a 2D image of \(width) × \(height) × \(depth) texels" }
        case 3: if arrayLayers != 1 { return "\(arrayLayers) array layers of a 3D image; it can have only one" }
        default: return "\(actualDimensions) dimensions; an image has one, two or three"
        }
        if isCube, actualDimensions != 2 || width != height || arrayLayers < 6 {
            return "a cube has six layers of a 2D image that is as wide as it is high"
        }
        return nil
    }
}

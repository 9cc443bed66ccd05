import CVulkan
import Glibc

/// An image: the blocks of each subresource, tightly packed, and the layout it is in.
final class FakeImage: FakeDeviceObject {
    override class var kind: FakeVulkan.Kind { .image }

    let format: ImageFormat
    let extent: VkExtent3D
    let mips: UInt32
    let layers: UInt32
    let usage: VkImageUsageFlags
    /// Where each subresource begins; the end last.
    let starts: [Int]
    let bytes: UnsafeMutableRawPointer
    var layouts: [VkImageLayout]
    var ownership: Ownership
    var memory: FakeMemory?

    init(_ fake: FakeVulkan, _ device: FakeDevice, _ info: VkImageCreateInfo, _ format: ImageFormat) {
        self.format = format
        extent = info.extent
        mips = info.mipLevels
        layers = info.arrayLayers
        usage = info.usage
        var starts = [0]
        for _ in 0..<info.arrayLayers {
            for mip in 0..<info.mipLevels {
                let size = Self.mip(info.extent, mip)
                let bytes = format.columns(size.width) * format.rows(size.height) * Int(size.depth) * format.bytes
                starts.append(starts.last! + bytes)
            }
        }
        self.starts = starts
        bytes = .allocate(byteCount: starts.last!, alignment: 64)
        memset(bytes, 0xDD, starts.last!)
        layouts = Array(repeating: info.initialLayout, count: starts.count - 1)
        ownership = Ownership(info.sharingMode, fake.configuration.queueFamilies.count)
        super.init(fake, device)
    }

    deinit { bytes.deallocate() }

    var size: Int { starts.last! }
    func has(_ usage: VkImageUsageFlagBits) -> Bool { self.usage & usage.rawValue != 0 }
    func extent(mip: UInt32) -> VkExtent3D { Self.mip(extent, mip) }
    func subresource(mip: UInt32, layer: UInt32) -> Int { Int(layer * mips + mip) }

    private static func mip(_ extent: VkExtent3D, _ mip: UInt32) -> VkExtent3D {
        VkExtent3D(
            width: max(1, extent.width >> mip), height: max(1, extent.height >> mip), depth: max(1, extent.depth >> mip)
        )
    }
}

extension FakeVulkan {
    static let vkCreateImage: PFN_vkCreateImage = { device, info, _, result in
        command("vkCreateImage", device, FakeDevice.self) { fake, device in
            guard let info = info?.pointee, let result else { return VK_ERROR_UNKNOWN }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO, "VkImageCreateInfo")
            guard let format = ImageFormat(info.format) else {
                fake.report("format", "the fake has no format \(info.format.rawValue)")
                return VK_ERROR_FORMAT_NOT_SUPPORTED
            }
            guard fake.checkImage(info) else { return VK_ERROR_UNKNOWN }
            let image = FakeImage(fake, device, info, format)
            fake.born(image)
            result.pointee = image.pointer
            return VK_SUCCESS
        }
    }

    private func checkImage(_ info: VkImageCreateInfo) -> Bool {
        let extent = info.extent
        checkSharing(
            info.sharingMode, list(info.pQueueFamilyIndices, info.queueFamilyIndexCount), "VkImageCreateInfo")
        require(info.usage != 0, "VUID-VkImageCreateInfo-usage-requiredbitmask", "no usage")
        require(
            info.samples == VK_SAMPLE_COUNT_1_BIT, "VUID-VkImageCreateInfo-samples-parameter", "not one sample a texel")
        require(
            info.initialLayout == VK_IMAGE_LAYOUT_UNDEFINED || info.initialLayout == VK_IMAGE_LAYOUT_PREINITIALIZED,
            "VUID-VkImageCreateInfo-initialLayout-00993", "layout \(info.initialLayout.rawValue)")
        require(
            info.imageType != VK_IMAGE_TYPE_1D || (extent.height == 1 && extent.depth == 1),
            "VUID-VkImageCreateInfo-imageType-00956", "a 1D image that is higher than 1")
        require(
            info.imageType != VK_IMAGE_TYPE_2D || extent.depth == 1, "VUID-VkImageCreateInfo-imageType-00957",
            "a 2D image that is deeper than 1")
        require(
            info.imageType != VK_IMAGE_TYPE_3D || info.arrayLayers == 1, "VUID-VkImageCreateInfo-imageType-00961",
            "a 3D image with layers")
        let isCube = info.flags & VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT.rawValue != 0
        require(
            !isCube || (extent.width == extent.height && info.arrayLayers >= 6),
            "VUID-VkImageCreateInfo-imageType-00954", "not square, or not 6 layers, but cube-compatible")
        let longest = max(extent.width, extent.height, extent.depth)
        require(
            info.mipLevels <= UInt32(32 - longest.leadingZeroBitCount), "VUID-VkImageCreateInfo-mipLevels-00958",
            "\(info.mipLevels) mip levels of \(longest) texels")
        return require(
            extent.width > 0 && extent.height > 0 && extent.depth > 0 && info.mipLevels > 0 && info.arrayLayers > 0,
            "VUID-VkImageCreateInfo-extent-00944", "an empty image")
    }

    static let vkDestroyImage: PFN_vkDestroyImage = { device, image, _ in
        guard image != nil else { return }
        call("vkDestroyImage", device, FakeDevice.self, alone: image, otherwise: ()) { fake, device in
            guard let image = fake.resolve(image, FakeImage.self, of: device) else { return }
            if fake.die(image, inUse: "VUID-vkDestroyImage-image-01000") {
                image.memory?.bindings.removeAll { $0.handle == image.handle }
            }
        }
    }

    static let vkGetImageMemoryRequirements: PFN_vkGetImageMemoryRequirements = { device, image, result in
        call("vkGetImageMemoryRequirements", device, FakeDevice.self, otherwise: ()) { fake, device in
            guard let image = fake.resolve(image, FakeImage.self, of: device) else { return }
            result?.pointee = fake.requirements(image)
        }
    }

    private func requirements(_ image: FakeImage) -> VkMemoryRequirements {
        let alignment = configuration.imageAlignment
        let all = UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(configuration.memoryTypes.count)) - 1)
        return VkMemoryRequirements(
            size: (UInt64(image.size) + alignment - 1) / alignment * alignment, alignment: alignment,
            memoryTypeBits: all & configuration.imageMemoryTypes)
    }

    static let vkBindImageMemory: PFN_vkBindImageMemory = { device, image, memory, offset in
        command("vkBindImageMemory", device, FakeDevice.self, alone: image) { fake, device in
            guard let image = fake.resolve(image, FakeImage.self, of: device),
                let memory = fake.resolve(memory, FakeMemory.self, of: device)
            else { return VK_ERROR_UNKNOWN }
            guard
                fake.require(
                    image.memory == nil, "VUID-vkBindImageMemory-image-07460", "\(image.name) is bound already"),
                fake.checkBinding(fake.requirements(image), memory, offset, "vkBindImageMemory")
            else { return VK_ERROR_UNKNOWN }
            fake.require(
                !memory.isImported, "VUID-vkBindImageMemory-memory-02989", "an image in imported memory")
            image.memory = memory
            fake.checkGranularity(memory, offset..<offset + UInt64(image.size), isImage: true, image.handle)
            return VK_SUCCESS
        }
    }

    /// The bytes of a subresource, tightly packed, as the last executed copy left them.
    package func contents(of image: OpaquePointer, mip: Int, layer: Int = 0) -> [UInt8] {
        locked { fake in
            guard let image = HandleRegistry.shared.find(UInt(bitPattern: image)) as? FakeImage else { return [] }
            let index = image.subresource(mip: UInt32(mip), layer: UInt32(layer))
            return Array(
                UnsafeRawBufferPointer(
                    start: image.bytes + image.starts[index], count: image.starts[index + 1] - image.starts[index]))
        }
    }

    /// The layout of a subresource, after what has been executed.
    package func layout(of image: OpaquePointer, mip: Int, layer: Int = 0) -> VkImageLayout? {
        locked { fake in
            guard let image = HandleRegistry.shared.find(UInt(bitPattern: image)) as? FakeImage else { return nil }
            return image.layouts[image.subresource(mip: UInt32(mip), layer: UInt32(layer))]
        }
    }

    /// The bytes of a buffer as the device sees them.
    package func contents(of buffer: OpaquePointer) -> [UInt8] {
        locked { fake in
            guard let buffer = HandleRegistry.shared.find(UInt(bitPattern: buffer)) as? FakeBuffer,
                let memory = buffer.memory, !memory.isDestroyed
            else { return [] }
            return Array(
                UnsafeRawBufferPointer(start: memory.deviceBytes + Int(buffer.offset), count: Int(buffer.size)))
        }
    }
}

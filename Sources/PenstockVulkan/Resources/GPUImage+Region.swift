import CVulkan
import Penstock

/// A `VkImageLayout`.
public struct GPUImageLayout: RawRepresentable, Hashable, Sendable {
    /// The `VkImageLayout`.
    public let rawValue: UInt32
    /// Names any layout by its `VkImageLayout`.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The texels that were there are of no interest. `VK_IMAGE_LAYOUT_UNDEFINED`.
    public static let undefined = GPUImageLayout(rawValue: 0)
    /// `VK_IMAGE_LAYOUT_GENERAL`.
    public static let general = GPUImageLayout(rawValue: 1)
    /// `VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL`.
    public static let shaderReadOnly = GPUImageLayout(rawValue: 5)
    /// `VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL`.
    public static let transferSource = GPUImageLayout(rawValue: 6)
    /// `VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL`.
    public static let transferDestination = GPUImageLayout(rawValue: 7)

    var vulkan: VkImageLayout { VkImageLayout(rawValue: rawValue) }

    /// The image must have been made for one of these; nil: any image can have the layout.
    var neededUsage: VkImageUsageFlags? {
        switch vulkan {
        case VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL: VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT.rawValue
        case VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL, VK_IMAGE_LAYOUT_DEPTH_STENCIL_READ_ONLY_OPTIMAL:
            VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT.rawValue
        case VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL:
            VK_IMAGE_USAGE_SAMPLED_BIT.rawValue | VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT.rawValue
        default: nil
        }
    }
}

extension GPUImage {
    /// A box of texels in one mip level of some array layers.
    public struct Part: Sendable, Hashable {
        /// The mip level.
        public var mip: Int
        /// The array layers, one after another.
        public var layers: Range<Int>
        /// The box's corner in texels, on the corner of a block.
        public var x = 0, y = 0, z = 0
        /// The box's size in texels: whole blocks, or up to the edge; nil: all that there is.
        public var width: Int?, height: Int?, depth: Int?
        /// Bytes from one row of blocks in the file to the next; nil: they follow one another without a gap. The very last
        /// row of a request has no gap behind it.
        public var rowPitch: Int?
        /// Bytes in the file between the end of the part before, its last row's pitch included, and this one.
        public var gap = 0

        /// A whole mip level of some layers; change the properties for less.
        public init(mip: Int = 0, layers: Range<Int> = 0..<1) {
            self.mip = mip
            self.layers = layers
        }
    }

    /// What a request moves: parts of an image in the order in which the file has them, and the layouts around it.
    ///
    /// Requests of one queue that are in flight at the same time may share a mip level of a layer if they go in the same
    /// direction and leave it in the layout that it is in; it is in that layout when all of them have ended. Others must not,
    /// nor those that name a new owner.
    /// A request that fails on the way leaves its subresources in the final layout, with undefined texels; but one that a queue
    /// has shut down under leaves them in any: read them next from ``GPUImageLayout/undefined``.
    public struct Region: Sendable {
        /// The image.
        public let image: GPUImage
        /// The layout that the subresources are in; ``GPUImageLayout/undefined`` drops what they hold, and is for reads.
        public var oldLayout: GPUImageLayout
        /// The layout that they are in afterwards.
        public var newLayout: GPUImageLayout
        /// How many bytes that is in the file.
        public var count: Int { copy.success?.byteCount ?? 0 }

        let copy: Result<ImageCopy, StorageError>

        init(
            _ image: GPUImage, from old: GPUImageLayout, to new: GPUImageLayout,
            _ make: () throws(ImageCopyProblem) -> ImageCopy
        ) {
            self.image = image
            oldLayout = old
            newLayout = new
            copy = Self.checked(make)
        }

        private static func checked(
            _ make: () throws(ImageCopyProblem) -> ImageCopy
        ) -> Result<ImageCopy, StorageError> {
            do throws(ImageCopyProblem) {
                let copy = try make()
                guard StagingSlabs.alignment % copy.offsetAlignment == 0 else {
                    return .failure(
                        StorageError(
                            .notSupported, .copy,
                            message: "formats of three channels cannot be streamed; use one of four"))
                }
                guard copy.largestUnit <= StagingSlabs.largestPiece else {
                    return .failure(
                        StorageError(
                            .notSupported, .copy, length: copy.largestUnit,
                            message: """
                                this queue family copies \(copy.largestUnit) bytes only as a whole, and \
                                \(StagingSlabs.largestPiece) fit into staging memory; use a queue with graphics or compute
                                """))
                }
                return .success(copy)
            } catch {
                return .failure(StorageError(.invalidRange, .copy, message: "\(error)"))
            }
        }
    }

    /// All of the image.
    ///
    /// - Parameters:
    ///   - order: The order in which the file has it.
    ///   - old: The layout that the image is in.
    ///   - new: The layout that it is in afterwards.
    public func whole(
        order: Order = .mips, from old: GPUImageLayout = .undefined, to new: GPUImageLayout = .shaderReadOnly
    ) -> Region {
        Region(self, from: old, to: new) { () throws(ImageCopyProblem) in
            try .wholeImage(storage.shape, order: order.imageOrder, rules: device.rules)
        }
    }

    /// Some parts of the image, in the order in which the file has them. What is wrong with them is said by the request.
    public func parts(
        _ parts: [Part], from old: GPUImageLayout = .undefined, to new: GPUImageLayout = .shaderReadOnly
    ) -> Region {
        let shape = storage.shape
        return Region(self, from: old, to: new) { () throws(ImageCopyProblem) in
            try ImageCopy(parts.map { $0.copyPart(in: shape) }, of: shape, rules: device.rules)
        }
    }

    /// One mip level of one layer.
    public func level(
        _ mip: Int, layer: Int = 0, from old: GPUImageLayout = .undefined, to new: GPUImageLayout = .shaderReadOnly
    ) -> Region {
        // The last number there is has no next one, and no image so many layers.
        parts([Part(mip: mip, layers: layer..<max(layer, layer &+ 1))], from: old, to: new)
    }
}

extension GPUImage.Part {
    func copyPart(in shape: ImageShape) -> ImageCopy.Part {
        // A level that does not exist has no size; the check that follows says so.
        let level = (0..<shape.mipLevels).contains(mip) ? shape.extent(ofMip: mip) : shape.extent
        return ImageCopy.Part(
            mip: mip, firstLayer: layers.lowerBound, layerCount: layers.safeCount,
            offset: TexelOffset(x: x, y: y, z: z),
            extent: TexelExtent(
                width: width ?? level.width &- x, height: height ?? level.height &- y, depth: depth ?? level.depth &- z),
            rowPitch: rowPitch, gap: gap)
    }
}

extension GPUImage.Order {
    var imageOrder: ImageCopy.Order {
        switch self {
        case .mips: .mips
        case .mipsSmallestFirst: .mipsSmallestFirst
        case .layers: .layers
        }
    }
}

extension GPUImage.Region {
    /// The mip levels and layers that the region touches, each once.
    var ranges: [VkImageSubresourceRange] {
        guard let copy = copy.success else { return [] }
        // Not layer by layer: an image may have any number of them.
        var spans: [Int: [Range<Int>]] = [:]
        for placed in copy.parts where !placed.isGap {
            let part = placed.part
            spans[part.mip, default: []].append(part.firstLayer..<part.firstLayer + part.layerCount)
        }
        var ranges: [VkImageSubresourceRange] = []
        for (mip, spans) in spans.sorted(by: { $0.key < $1.key }) {
            for span in spans.joinedSpans() {
                ranges.append(
                    VkImageSubresourceRange(
                        aspectMask: VK_IMAGE_ASPECT_COLOR_BIT.rawValue, baseMipLevel: UInt32(mip), levelCount: 1,
                        baseArrayLayer: UInt32(span.lowerBound), layerCount: UInt32(span.count)))
            }
        }
        return ranges
    }

    /// What is wrong with the layouts (VUID-VkImageMemoryBarrier2-newLayout-01198, -oldLayout-01208 to -01211).
    private func layoutProblem(isWrite: Bool) -> String? {
        if isWrite, oldLayout == .undefined {
            return "an image in the undefined layout has nothing to write; name the layout that it is in"
        }
        guard newLayout != .undefined, newLayout.vulkan != VK_IMAGE_LAYOUT_PREINITIALIZED else {
            return "an image cannot be brought into the undefined or the preinitialized layout"
        }
        guard let usage = image.storage.usage else { return nil }
        for layout in [oldLayout, newLayout] {
            guard let needed = layout.neededUsage, usage & needed == 0 else { continue }
            return """
                the image was not made for the VkImageLayout \(layout.rawValue); make it with one of the \
                VkImageUsageFlags \(needed)
                """
        }
        return nil
    }

    /// The region as the queue's core knows it.
    func sinkSlice(
        _ synchronization: GPUSynchronization? = nil, endsOnSubmit: Bool = false, isWrite: Bool = false
    ) -> SinkSlice {
        let synchronization = synchronization ?? GPUSynchronization()
        var details: TransferDetails?
        var problem: StorageError?
        switch copy {
        case .success(let copy):
            details = TransferDetails(
                memory: image.storage, after: synchronization.after, signal: synchronization.signal,
                newOwner: synchronization.newOwner, endsOnSubmit: endsOnSubmit,
                image: ImageTransfer(
                    image: image.storage.handle, copy: copy, ranges: ranges, from: oldLayout.vulkan,
                    to: newLayout.vulkan))
            problem = layoutProblem(isWrite: isWrite).map { StorageError(.invalidArgument, .copy, message: $0) }
        case .failure(let error): problem = error
        }
        return SinkSlice(
            device: image.device, memory: image.storage, handle: UInt64(UInt(bitPattern: image.storage.handle)),
            offset: 0, count: count, options: details?.options, problem: problem)
    }
}

extension Result {
    var success: Success? { if case .success(let value) = self { value } else { nil } }
}

extension GPUDevice {
    var rules: TransferRules { TransferRules(family.properties) }
}

extension Array {
    /// The same numbers in as few ranges as will do, in order.
    func joinedSpans<Bound>() -> [Range<Bound>] where Element == Range<Bound> {
        sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { joined, span in
            if let last = joined.last, span.lowerBound <= last.upperBound {
                joined[joined.count - 1] = last.lowerBound..<Swift.max(last.upperBound, span.upperBound)
            } else {
                joined.append(span)
            }
        }
    }
}

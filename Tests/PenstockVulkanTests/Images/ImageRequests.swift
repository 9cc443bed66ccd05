import CVulkan
import PenstockVulkan
import TestSupport

/// A random image, and a random request for parts of it that Vulkan allows.
struct ImageRequest: CustomStringConvertible {
    var shape: ImageShape
    var rules: TransferRules
    var parts: [ImageCopy.Part]

    var description: String { "\(shape) \(rules) \(parts)" }

    static let blocks: [TexelBlock] =
        [1, 2, 3, 4, 6, 8, 12, 16, 24, 32].map { TexelBlock(width: 1, height: 1, byteCount: $0) }
        + [
            TexelBlock(format: VK_FORMAT_BC1_RGB_SRGB_BLOCK)!, TexelBlock(format: VK_FORMAT_BC3_UNORM_BLOCK)!,
            TexelBlock(format: VK_FORMAT_BC7_SRGB_BLOCK)!, TexelBlock(format: VK_FORMAT_ASTC_5x4_UNORM_BLOCK)!,
            TexelBlock(format: VK_FORMAT_ASTC_12x12_SRGB_BLOCK)!,
            // Of no format that exists.
            TexelBlock(width: 4, height: 3, depth: 2, byteCount: 5),
        ]

    static let allRules: [TransferRules] = [
        .graphics,
        TransferRules(granularity: TexelExtent(width: 1, height: 1, depth: 1)),
        TransferRules(granularity: TexelExtent(width: 0, height: 0, depth: 0)),
        TransferRules(granularity: TexelExtent(width: 2, height: 4, depth: 2), offsetMultiple: 1),
        TransferRules(granularity: TexelExtent(width: 16, height: 16, depth: 8)),
    ]

    init(_ random: inout SeededRandom) throws {
        let isVolume = random.chance(30)
        let block = Self.blocks.randomElement(using: &random)!
        let width = 1 + random.below(random.chance(20) ? 4 : 60)
        let height = 1 + random.below(random.chance(20) ? 4 : 60)
        let depth = isVolume ? 1 + random.below(20) : 1
        let longest = max(width, height, depth)
        shape = try ImageShape(
            block: block, width: width, height: height, depth: depth,
            mipLevels: 1 + random.below(Int.bitWidth - longest.leadingZeroBitCount),
            arrayLayers: isVolume ? 1 : [1, 2, 6, 7].randomElement(using: &random)!)
        rules = Self.allRules.randomElement(using: &random)!
        parts = []
        for mip in 0..<shape.mipLevels where parts.isEmpty || random.chance(70) {
            parts += Self.parts(ofMip: mip, of: shape, rules: rules, &random)
        }
        if random.chance(30) { parts.shuffle(using: &random) }
    }

    /// One box, or two side by side, of one mip level.
    private static func parts(
        ofMip mip: Int, of shape: ImageShape, rules: TransferRules, _ random: inout SeededRandom
    ) -> [ImageCopy.Part] {
        let level = shape.extent(ofMip: mip)
        let firstLayer = random.below(shape.arrayLayers)
        let layerCount = 1 + random.below(shape.arrayLayers - firstLayer)
        func span(_ size: Int, _ block: Int, _ granularity: Int?) -> (offset: Int, extent: Int) {
            guard let granularity, !random.chance(50) else { return (0, size) }
            let unit = block * granularity
            let units = (size + unit - 1) / unit
            let first = random.below(units)
            let last = first + random.below(units - first)
            return (first * unit, min((last + 1) * unit, size) - first * unit)
        }
        let x = span(level.width, shape.block.width, rules.granularity?.width)
        let y = span(level.height, shape.block.height, rules.granularity?.height)
        let z = span(level.depth, shape.block.depth, rules.granularity?.depth)
        func part(_ x: (offset: Int, extent: Int)) -> ImageCopy.Part {
            let tight = (x.extent + shape.block.width - 1) / shape.block.width * shape.block.byteCount
            return ImageCopy.Part(
                mip: mip, firstLayer: firstLayer, layerCount: layerCount,
                offset: TexelOffset(x: x.offset, y: y.offset, z: z.offset),
                extent: TexelExtent(width: x.extent, height: y.extent, depth: z.extent),
                rowPitch: random.chance(50) ? nil : tight + shape.block.byteCount * random.below(4),
                gap: random.chance(20) ? 1 + random.below(600) : 0)
        }
        guard let granularity = rules.granularity, random.chance(30) else { return [part(x)] }
        let cut = granularity.width * shape.block.width
        guard x.extent > cut else { return [part(x)] }
        return [part((x.offset, cut)), part((x.offset + cut, x.extent - cut))]
    }
}

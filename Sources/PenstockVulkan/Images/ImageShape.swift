/// How an image is made up: the size of its largest mip level, its levels, its layers, and its texel blocks.
///
/// A cube map has six layers, a cube array six for each cube. A value of this type is always one that Vulkan could have
/// made, so nothing that is computed from it overflows.
package struct ImageShape: Sendable, Hashable {
    package let block: TexelBlock
    /// Texels of mip level 0.
    package let extent: TexelExtent
    package let mipLevels: Int
    package let arrayLayers: Int
    /// Bytes of every level of every layer, tightly packed.
    package let byteCount: Int

    /// Checks the numbers.
    /// - Throws: ``ImageShapeProblem`` for numbers that no Vulkan image has.
    package init(
        block: TexelBlock, width: Int, height: Int, depth: Int = 1, mipLevels: Int = 1, arrayLayers: Int = 1
    ) throws(ImageShapeProblem) {
        let extent = TexelExtent(width: width, height: height, depth: depth)
        // VkOffset3D is signed.
        for axis in ImageAxis.allCases where !(1...Int(Int32.max)).contains(extent[axis]) {
            throw .size(axis, extent[axis])
        }
        let longest = max(width, height, depth)
        let possible = Int.bitWidth - longest.leadingZeroBitCount
        guard (1...possible).contains(mipLevels) else { throw .mipLevels(mipLevels, possible: possible) }
        guard (1...Int(Int32.max)).contains(arrayLayers) else { throw .arrayLayers(arrayLayers) }
        guard depth == 1 || arrayLayers == 1 else { throw .layersOfVolume(arrayLayers) }

        self.block = block
        self.extent = extent
        self.mipLevels = mipLevels
        self.arrayLayers = arrayLayers
        var layer: Int? = 0
        for mip in 0..<mipLevels {
            let blocks = Self.blocks(in: Self.extent(extent, ofMip: mip), of: block)
            let bytes = blocks.width.timesOrNil(block.byteCount)?.timesOrNil(blocks.height)?.timesOrNil(blocks.depth)
            layer = bytes.flatMap { layer?.plusOrNil($0) }
        }
        guard let byteCount = layer?.timesOrNil(arrayLayers) else { throw .tooManyBytes }
        self.byteCount = byteCount
    }

    /// Texels of a mip level: half as many as the level before, rounded down, but at least one.
    package func extent(ofMip mip: Int) -> TexelExtent { Self.extent(extent, ofMip: mip) }

    /// Blocks of a mip level; those at its edges may stand out over it.
    package func blocks(ofMip mip: Int) -> TexelExtent { Self.blocks(in: extent(ofMip: mip), of: block) }

    /// Blocks in a row of a mip level.
    package func blocksPerRow(ofMip mip: Int) -> Int { blocks(ofMip: mip).width }

    /// Rows of blocks in a slice of a mip level.
    package func rowsPerSlice(ofMip mip: Int) -> Int { blocks(ofMip: mip).height }

    /// Bytes of one layer of a mip level, tightly packed.
    package func byteCount(ofMip mip: Int) -> Int {
        let blocks = blocks(ofMip: mip)
        return blocks.width * blocks.height * blocks.depth * block.byteCount
    }

    static func blocks(in extent: TexelExtent, of block: TexelBlock) -> TexelExtent {
        TexelExtent(
            width: extent.width.dividedUp(by: block.width), height: extent.height.dividedUp(by: block.height),
            depth: extent.depth.dividedUp(by: block.depth))
    }

    private static func extent(_ extent: TexelExtent, ofMip mip: Int) -> TexelExtent {
        TexelExtent(
            width: max(1, extent.width >> mip), height: max(1, extent.height >> mip),
            depth: max(1, extent.depth >> mip))
    }
}

/// Why numbers are not those of an image.
package enum ImageShapeProblem: Error, Sendable, Hashable, CustomStringConvertible {
    case size(ImageAxis, Int)
    case mipLevels(Int, possible: Int)
    case arrayLayers(Int)
    case layersOfVolume(Int)
    case tooManyBytes

    package var description: String {
        switch self {
        case .size(let axis, let size): "a \(axis.sizeName) of \(size) texels; it must be from 1 to \(Int32.max)"
        case .mipLevels(let count, let possible):
            "\(count) mip levels; an image of this size has from 1 to \(possible)"
        case .arrayLayers(let count): "\(count) array layers; there must be from 1 to \(Int32.max)"
        case .layersOfVolume(let count): "\(count) array layers of a 3D image; it can have only one"
        case .tooManyBytes: "the image has more bytes than a 64-bit number can count"
        }
    }
}

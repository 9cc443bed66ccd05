extension ImageCopy {
    /// In which order a file has the levels and layers of an image, each tightly packed.
    package enum Order: Sendable, Hashable, CaseIterable {
        /// For each mip level, the largest first: all layers.
        case mips
        /// For each mip level, the smallest first: all layers. As in KTX 2, which also pads its levels to the least common
        /// multiple of 4 and a block's bytes: where that shows, each level is a request of its own.
        case mipsSmallestFirst
        /// For each layer: all mip levels, the largest first. As in DDS.
        case layers
    }

    /// All of an image.
    package static func wholeImage(
        _ shape: ImageShape, order: Order, rules: TransferRules
    ) throws(ImageCopyProblem) -> ImageCopy {
        let parts: [Part] =
            switch order {
            case .mips: (0..<shape.mipLevels).map { Part(mip: $0, in: shape) }
            case .mipsSmallestFirst: (0..<shape.mipLevels).reversed().map { Part(mip: $0, in: shape) }
            case .layers:
                // One level only: a single part of all layers makes fewer regions.
                shape.mipLevels == 1
                    ? [Part(mip: 0, in: shape)]
                    : (0..<shape.arrayLayers).flatMap { layer in
                        (0..<shape.mipLevels).map { Part(mip: $0, layers: layer..<layer + 1, in: shape) }
                    }
            }
        return try ImageCopy(parts, of: shape, rules: rules)
    }

    /// One mip level of one layer.
    package static func subresource(
        mip: Int, layer: Int = 0, rowPitch: Int? = nil, of shape: ImageShape, rules: TransferRules
    ) throws(ImageCopyProblem) -> ImageCopy {
        // Only a level that exists has a size.
        guard (0..<shape.mipLevels).contains(mip) else { throw .part(0, .mip(mip, levels: shape.mipLevels)) }
        let part = Part(mip: mip, firstLayer: layer, extent: shape.extent(ofMip: mip), rowPitch: rowPitch)
        return try ImageCopy([part], of: shape, rules: rules)
    }

    /// One box of texels.
    package static func region(
        _ part: Part, of shape: ImageShape, rules: TransferRules
    ) throws(ImageCopyProblem) -> ImageCopy {
        try ImageCopy([part], of: shape, rules: rules)
    }
}

extension ImageCopy.Part {
    /// A whole mip level that exists, of some layers or of all.
    package init(mip: Int, layers: Range<Int>? = nil, in shape: ImageShape) {
        let layers = layers ?? 0..<shape.arrayLayers
        self.init(
            mip: mip, firstLayer: layers.lowerBound, layerCount: layers.count, extent: shape.extent(ofMip: mip))
    }
}

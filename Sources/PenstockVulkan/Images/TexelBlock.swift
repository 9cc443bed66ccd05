import CVulkan

/// The smallest unit in which an image's memory can be addressed: one texel, or one block of a compressed format.
package struct TexelBlock: Sendable, Hashable {
    /// Texels across.
    package let width: Int
    /// Texels down.
    package let height: Int
    /// Texels deep: 1 for every format that Penstock knows.
    package let depth: Int
    /// Bytes of one block.
    package let byteCount: Int

    package init(width: Int, height: Int, depth: Int = 1, byteCount: Int) {
        precondition(width > 0 && height > 0 && depth > 0 && byteCount > 0)
        self.width = width
        self.height = height
        self.depth = depth
        self.byteCount = byteCount
    }

    /// The block of a colour format; nil for depth and stencil, which are copied aspect by aspect, for formats of several
    /// planes or with subsampled chroma, and for formats that are not known.
    ///
    /// The sizes are those of the Vulkan specification's table "Formats by compatibility classes" (texel block size and
    /// texel block extent).
    package init?(format: VkFormat) {
        guard let known = Self.classes.first(where: { $0.formats.contains(format.rawValue) }) else { return nil }
        self = known.block
    }
}

extension TexelExtent {
    /// The size of one block in texels.
    package init(_ block: TexelBlock) {
        self.init(width: block.width, height: block.height, depth: block.depth)
    }
}

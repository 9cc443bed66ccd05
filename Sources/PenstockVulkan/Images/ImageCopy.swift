import CVulkan

/// What one request moves between a run of bytes and an image: an ordered list of parts of the image.
///
/// In the bytes, parts follow one another; in a part, its layers; in a layer, its slices; in a slice, its rows of texel
/// blocks, each `rowPitch` bytes after the one before. A part may begin some bytes after the one before. **Every row takes up its whole pitch, except for the very last row
/// of the request,** which has only the bytes of its blocks: a file may end there.
///
/// A request is transferred in pieces; see ``pieceLength(at:limit:)`` and ``regions(from:count:stagingOffset:_:)``.
package struct ImageCopy: Sendable {
    /// A box of texels in one mip level of some array layers.
    package struct Part: Sendable, Hashable {
        package var mip: Int
        package var firstLayer: Int
        package var layerCount: Int
        /// In texels; on the corner of a block.
        package var offset: TexelOffset
        /// In texels; whole blocks, or up to the edge of the mip level.
        package var extent: TexelExtent
        /// Bytes from one row of blocks in the source to the next; nil if they follow one another without a gap.
        package var rowPitch: Int?
        /// Bytes in front of the part that are nobody's.
        package var gap: Int

        package init(
            mip: Int, firstLayer: Int = 0, layerCount: Int = 1, offset: TexelOffset = .zero, extent: TexelExtent,
            rowPitch: Int? = nil, gap: Int = 0
        ) {
            self.mip = mip
            self.firstLayer = firstLayer
            self.layerCount = layerCount
            self.offset = offset
            self.extent = extent
            self.rowPitch = rowPitch
            self.gap = gap
        }
    }

    /// Bytes of the whole request.
    package let byteCount: Int
    /// Where a piece may lie in the staging buffer: at multiples of this many bytes, the least common multiple of the
    /// block's bytes and what the queue family asks for.
    ///
    /// A power of two of at most 32 for most formats, so that any page will do. But a multiple of 3 for formats of three
    /// channels, and then most pages will not: see ``stagingOffset(notBefore:)``.
    package let offsetAlignment: Int
    /// Bytes of the largest unit that cannot be cut: a piece may have to be this long, whatever the limit.
    package let largestUnit: Int

    let block: TexelBlock
    let parts: [PlacedPart]

    /// Checks the parts and lays them out.
    ///
    /// - Parameters:
    ///   - parts: In the order in which their bytes follow one another. No two may share a texel, as Vulkan would write
    ///     them in any order.
    ///   - rules: Those of the queue family that will do the copying.
    /// - Throws: ``ImageCopyProblem``, which names the first part that cannot be copied, and why.
    /// - Complexity: O(*n* log *n*) in the number of parts, as long as few of them share layers, slices and rows.
    package init(_ parts: [Part], of shape: ImageShape, rules: TransferRules) throws(ImageCopyProblem) {
        guard !parts.isEmpty else { throw .noParts }
        var placed: [PlacedPart] = []
        placed.reserveCapacity(parts.count)
        var end = 0
        var largestUnit = 0
        for (index, part) in parts.enumerated() {
            do throws(ImageCopyProblem.Reason) {
                try part.check(in: shape, rules: rules)
                var gap = part.gap
                while gap > 0 {
                    // No longer than what is staged at a time.
                    let stretch = try PlacedPart(gap: min(gap, 1 << 20), before: part, at: end)
                    placed.append(stretch)
                    end = stretch.end
                    gap -= stretch.unitBytes
                    largestUnit = max(largestUnit, stretch.unitBytes)
                }
                let place = try PlacedPart(part, at: end, shape: shape, rules: rules)
                placed.append(place)
                end = place.end
                largestUnit = max(largestUnit, place.unitBytes)
            } catch {
                throw .part(index, error)
            }
        }
        if let (first, second) = Self.overlap(of: parts) { throw .overlap(first, second) }

        self.parts = placed
        self.largestUnit = largestUnit
        block = shape.block
        byteCount = end - placed[placed.count - 1].padding
        offsetAlignment = leastCommonMultiple(shape.block.byteCount, rules.offsetMultiple)
    }

    /// The first place for a piece in a staging buffer from this offset on.
    package func stagingOffset(notBefore offset: Int) -> Int {
        let past = offset % offsetAlignment
        return past == 0 ? offset : offset + (offsetAlignment - past)
    }
}

private func leastCommonMultiple(_ a: Int, _ b: Int) -> Int {
    var (divisor, rest) = (a, b)
    while rest != 0 { (divisor, rest) = (rest, divisor % rest) }
    return a / divisor * b
}

import CVulkan

/// A part of a request that has been checked, and where its bytes are.
///
/// A *slice* is one layer of the part, or one slice of the depth of a 3D image, which has only one layer: to the copying
/// they are the same. A *row* is a row of texel blocks. A gap in front of a part is placed like one, of a single row.
struct PlacedPart: Sendable {
    let part: ImageCopy.Part
    /// It is the gap before the part.
    let isGap: Bool
    /// The part's first byte in the request.
    let start: Int
    let rowPitch: Int
    /// Bytes at the end of every row that are nobody's.
    let padding: Int
    let rows: Int
    let slices: Int
    /// Rows of a slice that are only copied together; as many as there are if a slice is never cut.
    let rowStep: Int
    /// Slices that are only copied together.
    let sliceStep: Int
    /// `VkBufferImageCopy2.bufferRowLength`, in texels.
    let bufferRowLength: UInt32

    var sliceBytes: Int { rows * rowPitch }
    /// The byte after the part's last row and its padding.
    var end: Int { start + slices * sliceBytes }
    /// Bytes of what is only copied together, at most.
    var unitBytes: Int { isCutInRows ? min(rowStep, rows) * rowPitch : min(sliceStep, slices) * sliceBytes }
    private var isCutInRows: Bool { sliceStep == 1 }

    /// - Throws: If the part has more bytes, or longer rows, than can be.
    init(
        _ part: ImageCopy.Part, at start: Int, shape: ImageShape, rules: TransferRules
    ) throws(ImageCopyProblem.Reason) {
        let block = shape.block
        let blocks = ImageShape.blocks(in: part.extent, of: block)
        let rowBytes = blocks.width * block.byteCount
        rowPitch = part.rowPitch ?? rowBytes
        padding = rowPitch - rowBytes
        // At most 2³¹ − 1 bytes, hence no more blocks, hence no overflow. Zero: tightly packed.
        bufferRowLength = padding == 0 ? 0 : UInt32(rowPitch / block.byteCount * block.width)
        rows = blocks.height
        slices = blocks.depth == 1 ? part.layerCount : blocks.depth

        let volume = blocks.depth > 1
        if let granularity = rules.granularity {
            sliceStep = volume ? granularity.depth : 1
            // Slices that go together are not next to one another row by row.
            rowStep = sliceStep == 1 ? granularity.height : blocks.height
        } else {
            sliceStep = volume ? blocks.depth : 1
            rowStep = blocks.height
        }
        self.part = part
        isGap = false
        self.start = start
        let end = rowPitch.timesOrNil(rows)?.timesOrNil(slices)?.plusOrNil(start)
        guard end != nil else { throw .tooManyBytes }
    }

    /// Some of the bytes in front of a part.
    init(gap: Int, before part: ImageCopy.Part, at start: Int) throws(ImageCopyProblem.Reason) {
        guard gap.plusOrNil(start) != nil else { throw .tooManyBytes }
        self.part = part
        isGap = true
        self.start = start
        (rowPitch, rows, slices) = (gap, 1, 1)
        (rowStep, sliceStep) = (1, 1)
        (padding, bufferRowLength) = (0, 0)
    }

    /// How many of `available` slices, from one on that can be the first of a region, are whole units.
    func wholeSlices(_ available: Int, from first: Int) -> Int {
        let rest = slices - first
        return available >= rest ? rest : available - available % sliceStep
    }

    /// How many of `available` rows of one slice, from one on that can be the first of a region, are whole units.
    func wholeRows(_ available: Int, from first: Int) -> Int {
        guard isCutInRows else { return 0 }
        let rest = rows - first
        return available >= rest ? rest : available - available % rowStep
    }

    /// The end, in bytes of the request, of the unit that begins at `position`.
    func endOfUnit(at position: Int) -> Int {
        let slice = (position - start) / sliceBytes
        let row = (position - start) % sliceBytes / rowPitch
        if isCutInRows { return position + min(rowStep, rows - row) * rowPitch }
        return position + min(sliceStep, slices - slice) * sliceBytes
    }

    /// The Vulkan region for some rows of some slices; not all the rows only if it is a single slice.
    func region(
        slices: Range<Int>, rows: Range<Int>, block: TexelBlock, bufferOffset: Int
    ) -> VkBufferImageCopy2 {
        let isWholeHeight = rows.count == self.rows
        var offset = part.offset
        var extent = part.extent
        var layers = slices.lowerBound + part.firstLayer..<slices.upperBound + part.firstLayer
        if !isWholeHeight {
            offset.y += rows.lowerBound * block.height
            extent.height = min(rows.count * block.height, part.extent.height - rows.lowerBound * block.height)
        }
        if part.extent.depth > block.depth {
            layers = part.firstLayer..<part.firstLayer + 1
            offset.z += slices.lowerBound * block.depth
            extent.depth = min(slices.count * block.depth, part.extent.depth - slices.lowerBound * block.depth)
        }
        // No number here is larger than the image's own, which fit an Int32.
        return VkBufferImageCopy2(
            sType: VK_STRUCTURE_TYPE_BUFFER_IMAGE_COPY_2, pNext: nil, bufferOffset: VkDeviceSize(bufferOffset),
            bufferRowLength: bufferRowLength,
            // Tightly packed: slices follow one another without a gap.
            bufferImageHeight: 0,
            imageSubresource: VkImageSubresourceLayers(
                aspectMask: VkImageAspectFlags(VK_IMAGE_ASPECT_COLOR_BIT.rawValue), mipLevel: UInt32(part.mip),
                baseArrayLayer: UInt32(layers.lowerBound), layerCount: UInt32(layers.count)),
            imageOffset: VkOffset3D(x: Int32(offset.x), y: Int32(offset.y), z: Int32(offset.z)),
            imageExtent: VkExtent3D(
                width: UInt32(extent.width), height: UInt32(extent.height), depth: UInt32(extent.depth)))
    }
}

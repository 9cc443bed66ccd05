import CVulkan
import PenstockVulkan

/// A row of blocks in an image, in blocks.
struct BlockRow: Hashable {
    var mip: Int
    var layer: Int
    var z: Int
    var y: Int
    var x: Int
    var count: Int
}

/// What a request means, found out row by row and with no thought of speed.
struct ImageModel {
    struct Row {
        var row: BlockRow
        /// The first byte of its blocks in the request.
        var start: Int
        var byteCount: Int
    }

    var rows: [Row] = []
    /// Where what is only copied together begins; then the end of the request.
    var cuts: Set<Int> = []
    /// Bytes up to the end of the last row's blocks.
    var byteCount = 0

    init(_ parts: [ImageCopy.Part], block: TexelBlock, rules: TransferRules) {
        var position = 0
        for part in parts {
            let columns = up(part.extent.width, block.width)
            let height = up(part.extent.height, block.height)
            let depth = up(part.extent.depth, block.depth)
            if part.gap > 0 {
                cuts.insert(position)
                position += part.gap
            }
            let pitch = part.rowPitch ?? columns * block.byteCount
            for layer in part.firstLayer..<part.firstLayer + part.layerCount {
                for z in 0..<depth {
                    for y in 0..<height {
                        if isCut(z: z, y: y, depth: depth, rules) { cuts.insert(position) }
                        let row = BlockRow(
                            mip: part.mip, layer: layer, z: part.offset.z / block.depth + z,
                            y: part.offset.y / block.height + y, x: part.offset.x / block.width, count: columns)
                        rows.append(Row(row: row, start: position, byteCount: columns * block.byteCount))
                        byteCount = position + columns * block.byteCount
                        position += pitch
                    }
                }
            }
        }
        cuts.insert(byteCount)
    }

    private func isCut(z: Int, y: Int, depth: Int, _ rules: TransferRules) -> Bool {
        guard let granularity = rules.granularity else { return z == 0 && y == 0 }
        if depth > 1 && granularity.depth > 1 { return z % granularity.depth == 0 && y == 0 }
        return y % granularity.height == 0
    }

    /// The rows that a region copies, and where each of them lies in the buffer, by the formulas of the specification's
    /// "Buffer and Image Addressing".
    static func rows(of region: VkBufferImageCopy2, block: TexelBlock) -> [(row: BlockRow, address: Int)] {
        let extent = region.imageExtent
        let rowLength = region.bufferRowLength == 0 ? extent.width : region.bufferRowLength
        let imageHeight = region.bufferImageHeight == 0 ? extent.height : region.bufferImageHeight
        let rowExtent = up(Int(rowLength), block.width) * block.byteCount
        let sliceExtent = up(Int(imageHeight), block.height) * rowExtent
        let depth = up(Int(extent.depth), block.depth)
        var rows: [(BlockRow, Int)] = []
        for layer in 0..<Int(region.imageSubresource.layerCount) {
            for z in 0..<depth {
                for y in 0..<up(Int(extent.height), block.height) {
                    let row = BlockRow(
                        mip: Int(region.imageSubresource.mipLevel),
                        layer: Int(region.imageSubresource.baseArrayLayer) + layer,
                        z: Int(region.imageOffset.z) / block.depth + z, y: Int(region.imageOffset.y) / block.height + y,
                        x: Int(region.imageOffset.x) / block.width, count: up(Int(extent.width), block.width))
                    let address = (layer * depth + z) * sliceExtent + y * rowExtent
                    rows.append((row, Int(region.bufferOffset) + address))
                }
            }
        }
        return rows
    }

    /// The rules of the specification that a region breaks.
    static func violations(of region: VkBufferImageCopy2, shape: ImageShape, rules: TransferRules) -> [String] {
        let block = shape.block
        var found: [String] = []
        func demand(_ holds: Bool, _ rule: String) { if !holds { found.append(rule) } }
        let bufferOffset = Int(region.bufferOffset)
        demand(bufferOffset % block.byteCount == 0, "bufferOffset-01558")
        demand(bufferOffset % rules.offsetMultiple == 0, "commandBuffer-07737")
        demand(Int(region.bufferRowLength) % block.width == 0, "bufferRowLength-00203")
        demand(region.bufferRowLength == 0 || region.bufferRowLength >= region.imageExtent.width, "rowLength-00195")
        let layers = region.imageSubresource
        demand(Int(layers.mipLevel) < shape.mipLevels, "imageSubresource-01701")
        demand(
            layers.layerCount > 0 && Int(layers.baseArrayLayer + layers.layerCount) <= shape.arrayLayers,
            "imageSubresource-01702")
        let level = shape.extent(ofMip: Int(layers.mipLevel))
        let axes = [
            (
                Int(region.imageOffset.x), Int(region.imageExtent.width), level.width, block.width,
                rules.granularity?.width
            ),
            (
                Int(region.imageOffset.y), Int(region.imageExtent.height), level.height, block.height,
                rules.granularity?.height
            ),
            (
                Int(region.imageOffset.z), Int(region.imageExtent.depth), level.depth, block.depth,
                rules.granularity?.depth
            ),
        ]
        for (offset, extent, size, block, granularity) in axes {
            demand(extent > 0, "imageExtent-06659")
            demand(offset >= 0 && offset + extent <= size, "pRegions-06223")
            demand(offset % block == 0, "pRegions-07274")
            demand(extent % block == 0 || offset + extent == size, "imageExtent-00207")
            if let granularity {
                demand(offset % (granularity * block) == 0, "imageOffset-07738, offset")
                demand(extent % (granularity * block) == 0 || offset + extent == size, "imageOffset-07738, extent")
            } else {
                demand(offset == 0 && extent == size, "imageOffset-07738, whole levels")
            }
        }
        return found
    }
}

private func up(_ count: Int, _ unit: Int) -> Int { (count + unit - 1) / unit }

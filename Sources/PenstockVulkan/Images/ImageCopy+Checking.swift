extension ImageCopy.Part {
    /// Checks everything about a part that does not depend on the others.
    func check(in shape: ImageShape, rules: TransferRules) throws(ImageCopyProblem.Reason) {
        guard (0..<shape.mipLevels).contains(mip) else { throw .mip(mip, levels: shape.mipLevels) }
        guard firstLayer >= 0, layerCount > 0, firstLayer < shape.arrayLayers,
            layerCount <= shape.arrayLayers - firstLayer
        else { throw .layers(first: firstLayer, count: layerCount, of: shape.arrayLayers) }

        let level = shape.extent(ofMip: mip)
        for axis in ImageAxis.allCases { try check(axis, size: level[axis], block: TexelExtent(shape.block)[axis]) }
        if let granularity = rules.granularity {
            for axis in ImageAxis.allCases {
                // Cannot overflow: 32 bits times a block's size.
                let unit = granularity[axis] * TexelExtent(shape.block)[axis]
                let isEdge = offset[axis] + extent[axis] == level[axis]
                guard offset[axis] % unit == 0, isEdge || extent[axis] % unit == 0 else {
                    throw .granularity(axis, offset: offset[axis], extent: extent[axis], unit: unit)
                }
            }
        } else if offset != .zero || extent != level {
            throw .wholeLevelsOnly(mip, level)
        }
        try checkRowPitch(block: shape.block)
        guard (0...Int(UInt32.max)).contains(gap) else { throw .gap(gap) }
    }

    private func check(_ axis: ImageAxis, size: Int, block: Int) throws(ImageCopyProblem.Reason) {
        let (offset, extent) = (offset[axis], extent[axis])
        guard extent > 0 else { throw .emptyExtent(axis, extent) }
        guard offset >= 0, offset < size, extent <= size - offset else {
            throw .outside(axis, offset: offset, extent: extent, size: size, mip: mip)
        }
        guard offset % block == 0 else { throw .offsetNotOnBlock(axis, offset, block: block) }
        guard extent % block == 0 || offset + extent == size else {
            throw .extentNotWholeBlocks(axis, extent, block: block)
        }
    }

    private func checkRowPitch(block: TexelBlock) throws(ImageCopyProblem.Reason) {
        guard let rowPitch else { return }
        let rowBytes = extent.width.dividedUp(by: block.width) * block.byteCount
        guard rowPitch >= rowBytes else { throw .rowPitchTooSmall(rowPitch, rowBytes: rowBytes) }
        guard rowPitch % block.byteCount == 0 else { throw .rowPitchNotBlocks(rowPitch, blockBytes: block.byteCount) }
        // VUID-VkCopyBufferToImageInfo2-pRegions-07277 (bufferRowLength, in bytes).
        guard rowPitch <= Int(Int32.max) else { throw .rowPitchTooLarge(rowPitch) }
    }
}

extension ImageCopy {
    /// Two parts that have a texel in common, by their places in the list; nil if there are none.
    ///
    /// Sorted, a part can only meet those that follow it up to the first that begins past its layers (past its slices or
    /// rows, where it has only one layer and slice): that is next to none in a list of levels or of tiles.
    static func overlap(of parts: [Part]) -> (Int, Int)? {
        guard parts.count > 1 else { return nil }
        let order = parts.indices.sorted { parts[$0].place < parts[$1].place }
        for (rank, first) in order.enumerated() {
            for second in order[(rank + 1)...] {
                guard parts[first].mayMeet(parts[second]) else { break }
                if parts[first].overlaps(parts[second]) { return (min(first, second), max(first, second)) }
            }
        }
        return nil
    }
}

extension ImageCopy.Part {
    fileprivate var place: (Int, Int, Int, Int, Int) { (mip, firstLayer, offset.z, offset.y, offset.x) }

    /// Whether this part or one after it, in the order of their places, can have a texel in common with `self`.
    fileprivate func mayMeet(_ other: Self) -> Bool {
        guard other.mip == mip, other.firstLayer < firstLayer + layerCount else { return false }
        guard layerCount == 1 else { return true }
        guard other.offset.z < offset.z + extent.depth else { return false }
        guard extent.depth == 1 else { return true }
        return other.offset.y < offset.y + extent.height
    }

    fileprivate func overlaps(_ other: Self) -> Bool {
        mip == other.mip && firstLayer < other.firstLayer + other.layerCount
            && other.firstLayer < firstLayer + layerCount
            && ImageAxis.allCases.allSatisfy {
                offset[$0] < other.offset[$0] + other.extent[$0] && other.offset[$0] < offset[$0] + extent[$0]
            }
    }
}

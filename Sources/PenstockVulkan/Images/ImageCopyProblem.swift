/// Why a request cannot be copied to or from an image, in words that say what to change.
package enum ImageCopyProblem: Error, Sendable, Hashable, CustomStringConvertible {
    /// The request names no part of the image.
    case noParts
    /// The part at this place in the list is wrong.
    case part(Int, Reason)
    /// The parts at these places in the list have a texel in common.
    case overlap(Int, Int)

    /// What is wrong with one part. Sizes and offsets are in texels, pitches in bytes.
    package enum Reason: Error, Sendable, Hashable {
        case mip(Int, levels: Int)
        case layers(first: Int, count: Int, of: Int)
        case emptyExtent(ImageAxis, Int)
        case outside(ImageAxis, offset: Int, extent: Int, size: Int, mip: Int)
        case offsetNotOnBlock(ImageAxis, Int, block: Int)
        case extentNotWholeBlocks(ImageAxis, Int, block: Int)
        case rowPitchTooSmall(Int, rowBytes: Int)
        case rowPitchNotBlocks(Int, blockBytes: Int)
        case rowPitchTooLarge(Int)
        case gap(Int)
        case granularity(ImageAxis, offset: Int, extent: Int, unit: Int)
        case wholeLevelsOnly(Int, TexelExtent)
        case tooManyBytes
    }

    package var description: String {
        switch self {
        case .noParts: "the request names no part of the image"
        case .part(let index, let reason): "part \(index) of the request: \(reason)"
        case .overlap(let first, let second):
            "parts \(first) and \(second) of the request overlap; use two requests, one after the other"
        }
    }
}

extension ImageCopyProblem.Reason: CustomStringConvertible {
    package var description: String {
        switch self {
        case .gap(let gap): "a gap of \(gap) bytes before it; there can be \(UInt32.max) at most"
        case .mip(let mip, let levels): "mip level \(mip) of an image with \(levels), which are counted from 0"
        case .layers(let first, let count, let all):
            "\(count) layers from \(first) on, of an image with \(all), which are counted from 0"
        case .emptyExtent(let axis, let extent): "a \(axis.sizeName) of \(extent); it must be at least 1"
        case .outside(let axis, let offset, let extent, let size, let mip):
            "\(axis) = \(offset) and a \(axis.sizeName) of \(extent) are outside mip level \(mip), "
                + "which has a \(axis.sizeName) of \(size)"
        case .offsetNotOnBlock(let axis, let offset, let block):
            "\(axis) = \(offset) is inside a block of the format; it must be a multiple of \(block)"
        case .extentNotWholeBlocks(let axis, let extent, let block):
            "a \(axis.sizeName) of \(extent) ends inside a block of the format; "
                + "it must be a multiple of \(block), or reach the edge of the mip level"
        case .rowPitchTooSmall(let pitch, let rowBytes):
            "a row pitch of \(pitch) bytes; a row of blocks has \(rowBytes)"
        case .rowPitchNotBlocks(let pitch, let blockBytes):
            "a row pitch of \(pitch) bytes; it must be a multiple of the \(blockBytes) bytes of a block"
        case .rowPitchTooLarge(let pitch): "a row pitch of \(pitch) bytes; Vulkan allows \(Int32.max)"
        case .granularity(let axis, let offset, let extent, let unit):
            "\(axis) = \(offset) and a \(axis.sizeName) of \(extent); the device's transfer queue wants multiples of "
                + "\(unit), or a \(axis.sizeName) that reaches the edge of the mip level"
        case .wholeLevelsOnly(let mip, let size):
            "the device's transfer queue copies whole mip levels only; level \(mip) has "
                + "\(size.width) × \(size.height) × \(size.depth) texels"
        case .tooManyBytes: "with it the request has more bytes than a 64-bit number can count"
        }
    }
}

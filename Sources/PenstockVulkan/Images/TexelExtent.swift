/// A size in texels (or, for a transfer granularity, in texel blocks).
package struct TexelExtent: Sendable, Hashable {
    package var width: Int
    package var height: Int
    package var depth: Int

    package init(width: Int, height: Int, depth: Int = 1) {
        self.width = width
        self.height = height
        self.depth = depth
    }

    package subscript(axis: ImageAxis) -> Int {
        switch axis {
        case .x: width
        case .y: height
        case .z: depth
        }
    }
}

/// A place in a mip level, in texels from its first.
package struct TexelOffset: Sendable, Hashable {
    package var x: Int
    package var y: Int
    package var z: Int

    package static let zero = TexelOffset(x: 0, y: 0, z: 0)

    package init(x: Int, y: Int, z: Int = 0) {
        self.x = x
        self.y = y
        self.z = z
    }

    package subscript(axis: ImageAxis) -> Int {
        switch axis {
        case .x: x
        case .y: y
        case .z: z
        }
    }
}

/// A direction in an image.
package enum ImageAxis: Sendable, Hashable, CaseIterable {
    case x, y, z

    /// What the size along this axis is called.
    package var sizeName: String {
        switch self {
        case .x: "width"
        case .y: "height"
        case .z: "depth"
        }
    }
}

extension Int {
    /// The quotient, rounded up; for a dividend of at least 1.
    func dividedUp(by divisor: Int) -> Int { (self - 1) / divisor + 1 }

    /// The product, or nil if it is too large for an `Int`.
    func timesOrNil(_ factor: Int) -> Int? {
        let (product, overflow) = multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }

    /// The sum, or nil if it is too large for an `Int`.
    func plusOrNil(_ summand: Int) -> Int? {
        let (sum, overflow) = addingReportingOverflow(summand)
        return overflow ? nil : sum
    }
}

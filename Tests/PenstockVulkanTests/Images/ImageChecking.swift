import CVulkan
import PenstockVulkan
import TestSupport
import Testing

/// Numbers that Vulkan would not take, and numbers that no one should have, are refused with a reason.
@Suite struct ImageChecking {
    private static let bc7 = TexelBlock(width: 4, height: 4, byteCount: 16)
    private static let hostile = [Int.min, -1, 0, 1, 1 << 31, 1 << 32, 1 << 62, Int.max - 1, Int.max]

    private func reason(
        _ part: ImageCopy.Part, rules: TransferRules = .graphics, layers: Int = 6
    ) throws -> ImageCopyProblem.Reason? {
        let shape = try ImageShape(block: Self.bc7, width: 50, height: 40, mipLevels: 6, arrayLayers: layers)
        do throws(ImageCopyProblem) {
            _ = try ImageCopy([part], of: shape, rules: rules)
            return nil
        } catch {
            guard case .part(0, let reason) = error else {
                Issue.record("\(error)")
                return nil
            }
            return reason
        }
    }

    @Test func everyRuleHasItsReason() throws {
        let part = ImageCopy.Part(mip: 0, extent: TexelExtent(width: 8, height: 8))
        func changed(_ change: (inout ImageCopy.Part) -> Void) -> ImageCopy.Part {
            var part = part
            change(&part)
            return part
        }
        #expect(try reason(part) == nil)
        #expect(try reason(changed { $0.mip = 6 }) == .mip(6, levels: 6))
        #expect(try reason(changed { $0.firstLayer = 6 }) == .layers(first: 6, count: 1, of: 6))
        #expect(try reason(changed { $0.layerCount = 7 }) == .layers(first: 0, count: 7, of: 6))
        #expect(try reason(changed { $0.layerCount = 0 }) == .layers(first: 0, count: 0, of: 6))
        #expect(try reason(changed { $0.extent.height = 0 }) == .emptyExtent(.y, 0))
        #expect(try reason(changed { $0.extent.depth = 2 }) == .outside(.z, offset: 0, extent: 2, size: 1, mip: 0))
        #expect(try reason(changed { $0.offset.x = 44 }) == .outside(.x, offset: 44, extent: 8, size: 50, mip: 0))
        #expect(try reason(changed { $0.offset.y = 2 }) == .offsetNotOnBlock(.y, 2, block: 4))
        #expect(try reason(changed { $0.extent.width = 6 }) == .extentNotWholeBlocks(.x, 6, block: 4))
        #expect(try reason(changed { ($0.offset.x, $0.extent.width) = (44, 6) }) == nil)
        #expect(try reason(changed { $0.rowPitch = 16 }) == .rowPitchTooSmall(16, rowBytes: 32))
        #expect(try reason(changed { $0.rowPitch = 40 }) == .rowPitchNotBlocks(40, blockBytes: 16))
        #expect(try reason(changed { $0.rowPitch = 1 << 31 }) == .rowPitchTooLarge(1 << 31))
        #expect(try reason(changed { $0.rowPitch = 48 }) == nil)
        #expect(try reason(changed { $0.gap = -1 }) == .gap(-1))
        #expect(try reason(changed { $0.gap = .max }) == .gap(.max))
        #expect(try reason(changed { $0.gap = 3 << 20 }) == nil)
        #expect(try reason(changed { $0.gap = 512 }) == nil)

        let coarse = TransferRules(granularity: TexelExtent(width: 4, height: 4))
        #expect(try reason(part, rules: coarse) == .granularity(.x, offset: 0, extent: 8, unit: 16))
        let whole = TransferRules(granularity: TexelExtent(width: 0, height: 0, depth: 0))
        #expect(try reason(part, rules: whole) == .wholeLevelsOnly(0, TexelExtent(width: 50, height: 40)))
    }

    @Test func hostileNumbersGiveAReason() {
        forEachSeed("hostile images", count: 3000) { random in
            func number(_ usual: Int) -> Int {
                random.chance(40) ? Self.hostile.randomElement(using: &random)! : usual
            }
            do {
                let shape = try ImageShape(
                    block: ImageRequest.blocks.randomElement(using: &random)!, width: number(64), height: number(32),
                    depth: number(1), mipLevels: number(3), arrayLayers: number(1))
                let part = ImageCopy.Part(
                    mip: number(1), firstLayer: number(0), layerCount: number(1),
                    offset: TexelOffset(x: number(0), y: number(0), z: number(0)),
                    extent: TexelExtent(width: number(4), height: number(4), depth: number(1)),
                    rowPitch: random.chance(50) ? nil : number(256))
                let copy = try ImageCopy(
                    [part], of: shape, rules: ImageRequest.allRules.randomElement(using: &random)!)
                let length = copy.pieceLength(at: 0, limit: number(4096))
                #expect(length > 0 && length <= copy.byteCount)
                copy.regions(from: 0, count: length, stagingOffset: 0) { _ in }
            } catch {
                #expect(!"\(error)".isEmpty)
            }
        }
    }

    @Test func manyLargePartsAreTooManyBytes() throws {
        let shape = try ImageShape(
            block: TexelBlock(width: 1, height: 1, byteCount: 1), width: 1 << 30, height: 1 << 30, arrayLayers: 6)
        let parts = (0..<6).map {
            ImageCopy.Part(
                mip: 0, firstLayer: $0, extent: TexelExtent(width: 1 << 30, height: 1 << 30), rowPitch: (1 << 31) - 1)
        }
        #expect(throws: ImageCopyProblem.part(4, .tooManyBytes)) {
            try ImageCopy(parts, of: shape, rules: .graphics)
        }
    }

    @Test func partsThatOverlapAreRefused() throws {
        let shape = try ImageShape(block: Self.bc7, width: 64, height: 64, mipLevels: 2, arrayLayers: 4)
        let tile = TexelExtent(width: 16, height: 16)
        func tileAt(_ x: Int, _ y: Int, layers: Range<Int> = 0..<1) -> ImageCopy.Part {
            ImageCopy.Part(
                mip: 0, firstLayer: layers.lowerBound, layerCount: layers.count, offset: TexelOffset(x: x, y: y),
                extent: tile)
        }
        let apart = [tileAt(16, 0), tileAt(0, 0), tileAt(0, 16, layers: 0..<4), tileAt(0, 0, layers: 1..<3)]
        #expect(throws: Never.self) { try ImageCopy(apart, of: shape, rules: .graphics) }
        for (intruder, first) in [(tileAt(4, 4), 1), (tileAt(0, 20, layers: 3..<4), 2), (tileAt(28, 12), 0)] {
            #expect(throws: ImageCopyProblem.overlap(first, 4)) {
                try ImageCopy(apart + [intruder], of: shape, rules: .graphics)
            }
        }
    }

    @Test func overlapsAreThoseOfAModelOfTexels() throws {
        let texel = TexelBlock(width: 1, height: 1, byteCount: 4)
        let flat = try ImageShape(block: texel, width: 6, height: 6, mipLevels: 2, arrayLayers: 4)
        let volume = try ImageShape(block: texel, width: 6, height: 6, depth: 6, mipLevels: 2)
        forEachSeed("overlaps", count: 2000) { random in
            let shape = random.chance(50) ? flat : volume
            func span(_ size: Int) -> Range<Int> {
                let first = random.below(size)
                return first..<first + 1 + random.below(min(3, size - first))
            }
            var texels: Set<[Int]> = []
            var isOverlap = false
            let parts = (0..<2 + random.below(4)).map { _ in
                let mip = random.below(2)
                let level = shape.extent(ofMip: mip)
                let (layers, x, y, z) = (
                    span(shape.arrayLayers), span(level.width), span(level.height), span(level.depth)
                )
                for layer in layers {
                    for z in z {
                        for y in y {
                            for x in x where !texels.insert([mip, layer, z, y, x]).inserted { isOverlap = true }
                        }
                    }
                }
                return ImageCopy.Part(
                    mip: mip, firstLayer: layers.lowerBound, layerCount: layers.count,
                    offset: TexelOffset(x: x.lowerBound, y: y.lowerBound, z: z.lowerBound),
                    extent: TexelExtent(width: x.count, height: y.count, depth: z.count))
            }
            do throws(ImageCopyProblem) {
                _ = try ImageCopy(parts, of: shape, rules: .graphics)
                #expect(!isOverlap, "seed \(random.seed): \(parts)")
            } catch {
                #expect(isOverlap, "seed \(random.seed): \(error): \(parts)")
            }
        }
    }

    @Test func emptyRequestsAndLevelsThatAreNotThere() throws {
        let shape = try ImageShape(block: Self.bc7, width: 64, height: 64, mipLevels: 2)
        #expect(throws: ImageCopyProblem.noParts) { try ImageCopy([], of: shape, rules: .graphics) }
        for mip in Self.hostile where !(0..<2).contains(mip) {
            #expect(throws: ImageCopyProblem.part(0, .mip(mip, levels: 2))) {
                try ImageCopy.subresource(mip: mip, of: shape, rules: .graphics)
            }
        }
    }

    @Test func imagesThatVulkanCannotMake() {
        func problem(
            _ width: Int, _ height: Int, _ depth: Int = 1, mips: Int = 1, layers: Int = 1
        ) -> ImageShapeProblem? {
            do throws(ImageShapeProblem) {
                _ = try ImageShape(
                    block: Self.bc7, width: width, height: height, depth: depth, mipLevels: mips, arrayLayers: layers)
                return nil
            } catch {
                return error
            }
        }
        #expect(problem(0, 1) == .size(.x, 0))
        #expect(problem(1, Int.max) == .size(.y, Int.max))
        #expect(problem(8, 8, mips: 5) == .mipLevels(5, possible: 4))
        #expect(problem(8, 8, 8, layers: 2) == .layersOfVolume(2))
        #expect(problem(8, 8, layers: -1) == .arrayLayers(-1))
        #expect(problem(1 << 30, 1 << 30, 1 << 30) == .tooManyBytes)
        #expect(problem(8, 8, mips: 4) == nil)
    }
}

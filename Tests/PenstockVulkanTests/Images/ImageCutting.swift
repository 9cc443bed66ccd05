import CVulkan
import PenstockVulkan
import TestSupport
import Testing

/// However a request is cut, its regions copy every row of blocks once, from where its bytes are.
@Suite struct ImageCutting {
    @Test func randomRequestsInRandomPieces() throws {
        try forEachSeed("image pieces", count: 1500) { random in
            let request = try ImageRequest(&random)
            let copy = try ImageCopy(request.parts, of: request.shape, rules: request.rules)
            let limit = [1, 13, 100, 777, 4096, 1 << 20, Int.max].randomElement(using: &random)!
            check(copy, request, limit: limit, "seed \(random.seed)", &random)
        }
    }

    @Test(
        arguments: [
            VK_FORMAT_BC1_RGB_SRGB_BLOCK, VK_FORMAT_BC3_UNORM_BLOCK, VK_FORMAT_BC7_SRGB_BLOCK, VK_FORMAT_R8G8B8A8_SRGB,
            VK_FORMAT_R8_UNORM, VK_FORMAT_R8G8B8_UNORM, VK_FORMAT_ASTC_6x5_SRGB_BLOCK,
        ], ImageCopy.Order.allCases)
    func wholeImagesOfEveryOrder(format: VkFormat, order: ImageCopy.Order) throws {
        var random = seededOnce("whole images")
        let block = try #require(TexelBlock(format: format))
        for (width, height, depth, layers) in [
            (64, 64, 1, 1), (37, 50, 1, 1), (1, 1, 1, 6), (30, 31, 1, 6), (5, 1, 1, 12), (17, 9, 12, 1), (128, 1, 1, 3),
        ] {
            let levels = Int.bitWidth - max(width, height, depth).leadingZeroBitCount
            let shape = try ImageShape(
                block: block, width: width, height: height, depth: depth, mipLevels: levels, arrayLayers: layers)
            for rules in ImageRequest.allRules {
                let copy = try ImageCopy.wholeImage(shape, order: order, rules: rules)
                #expect(copy.byteCount == shape.byteCount)
                let request = ImageRequest(
                    shape: shape, rules: rules, parts: naiveParts(of: shape, order: order))
                for limit in [1, 500, 1 << 20] { check(copy, request, limit: limit, "\(order)", &random) }
            }
        }
    }

    @Test func mipChainThatFitsIsOnePieceOfOneRegionForEachLevel() throws {
        let block = try #require(TexelBlock(format: VK_FORMAT_BC7_SRGB_BLOCK))
        let shape = try ImageShape(block: block, width: 512, height: 512, mipLevels: 10, arrayLayers: 6)
        for rules in [TransferRules.graphics, TransferRules(granularity: TexelExtent(width: 1, height: 1))] {
            let copy = try ImageCopy.wholeImage(shape, order: .mips, rules: rules)
            #expect(copy.pieceLength(at: 0, limit: 4 << 20) == copy.byteCount)
            var regions: [VkBufferImageCopy2] = []
            copy.regions(from: 0, count: copy.byteCount, stagingOffset: 4096) { regions.append($0) }
            #expect(regions.map(\.imageSubresource.mipLevel) == Array(0..<10))
            #expect(regions.allSatisfy { $0.imageSubresource.layerCount == 6 })
        }
    }

    @Test func oneByteLevelsShareAPieceOnlyWhereTheQueueAllowsIt() throws {
        let block = try #require(TexelBlock(format: VK_FORMAT_R8_UNORM))
        let shape = try ImageShape(block: block, width: 4, height: 4, mipLevels: 3, arrayLayers: 2)
        // 16, 4 and 1 byte, then 16, 4 and 1 again: the second layer would begin at byte 21.
        let anywhere = try ImageCopy.wholeImage(shape, order: .layers, rules: .graphics)
        #expect(anywhere.offsetAlignment == 1 && anywhere.pieceLength(at: 0, limit: 4096) == 42)
        let words = try ImageCopy.wholeImage(
            shape, order: .layers, rules: TransferRules(granularity: TexelExtent(width: 1, height: 1)))
        #expect(words.offsetAlignment == 4 && words.pieceLength(at: 0, limit: 4096) == 21)
        #expect(words.pieceLength(at: 21, limit: 4096) == 21)
    }

    @Test func stagingOffsetsOfThreeChannelFormats() throws {
        let shape = try ImageShape(
            block: TexelBlock(width: 1, height: 1, byteCount: 6), width: 16, height: 16)
        let copy = try ImageCopy.wholeImage(
            shape, order: .mips, rules: TransferRules(granularity: TexelExtent(width: 1, height: 1)))
        #expect(copy.offsetAlignment == 12)
        #expect(copy.stagingOffset(notBefore: 0) == 0)
        #expect(copy.stagingOffset(notBefore: 4096) == 4104)
        #expect(copy.stagingOffset(notBefore: 4104) == 4104)
    }

    private func naiveParts(of shape: ImageShape, order: ImageCopy.Order) -> [ImageCopy.Part] {
        var places: [(mip: Int, layer: Int)] = []
        for mip in 0..<shape.mipLevels { for layer in 0..<shape.arrayLayers { places.append((mip, layer)) } }
        switch order {
        case .mips: break
        case .mipsSmallestFirst: places.sort { ($1.mip, $0.layer) < ($0.mip, $1.layer) }
        case .layers: places.sort { ($0.layer, $0.mip) < ($1.layer, $1.mip) }
        }
        return places.map {
            ImageCopy.Part(mip: $0.mip, firstLayer: $0.layer, extent: shape.extent(ofMip: $0.mip))
        }
    }

    /// Cuts the request and compares what is copied with the model.
    private func check(
        _ copy: ImageCopy, _ request: ImageRequest, limit: Int, _ name: String, _ random: inout SeededRandom
    ) {
        let model = ImageModel(request.parts, block: request.shape.block, rules: request.rules)
        guard copy.byteCount == model.byteCount else {
            Issue.record("\(name): \(copy.byteCount) bytes, not \(model.byteCount): \(request)")
            return
        }
        let cuts = model.cuts.sorted()
        var copied: [BlockRow: Int] = [:]
        var start = 0
        while start < copy.byteCount {
            let length = copy.pieceLength(at: start, limit: limit)
            let end = start + length
            guard length > 0, model.cuts.contains(end), copy.wholeBytes(from: start, count: length) == length else {
                Issue.record("\(name): a piece of \(length) bytes at \(start), limit \(limit): \(request)")
                return
            }
            #expect(length <= max(limit, copy.largestUnit), "\(name)")
            if let next = cuts.first(where: { $0 > end }), next - start <= limit {
                #expect(length % copy.offsetAlignment != 0, "\(name): cut at \(end) for no reason: \(request)")
            }
            let rows = rows(of: copy, request, from: start, count: length, name, &random)
            for (row, position) in rows {
                #expect(copied.updateValue(position, forKey: row) == nil, "\(name): twice: \(row)")
            }
            checkShortFile(copy, request, model, cuts, from: start, count: random.below(length + 1), name, &random)
            start = end
        }
        let expected = Dictionary(uniqueKeysWithValues: model.rows.map { ($0.row, $0.start) })
        #expect(copied == expected, "\(name): \(request)")
    }

    private func checkShortFile(
        _ copy: ImageCopy, _ request: ImageRequest, _ model: ImageModel, _ cuts: [Int], from start: Int, count: Int,
        _ name: String, _ random: inout SeededRandom
    ) {
        let whole = copy.wholeBytes(from: start, count: count)
        guard (0...count).contains(whole) else {
            Issue.record("\(name): \(whole) of \(count) bytes")
            return
        }
        let rows = rows(of: copy, request, from: start, count: count, name, &random)
        let expected = model.rows.filter { $0.start >= start && $0.start < start + whole }
        let positions = Dictionary(rows, uniquingKeysWith: { first, _ in first })
        #expect(rows.count == expected.count, "\(name)")
        #expect(expected.allSatisfy { positions[$0.row] == $0.start }, "\(name): \(whole) of \(count) at \(start)")
        #expect(expected.allSatisfy { $0.start + $0.byteCount <= start + count }, "\(name): bytes that did not come")
        // Nothing is left out that could have been copied.
        let cut = cuts.first { $0 >= start + whole }!
        guard let next = cuts.first(where: { $0 > cut }) else { return }
        // What comes next may be a gap.
        guard let missing = model.rows.last(where: { $0.start < next }), missing.start >= cut else { return }
        if missing.start + missing.byteCount <= start + count {
            #expect((cut - start) % copy.offsetAlignment != 0, "\(name): \(whole) of \(count) at \(start): \(request)")
        }
    }

    /// The rows that the regions copy, and their places in the request.
    private func rows(
        of copy: ImageCopy, _ request: ImageRequest, from start: Int, count: Int, _ name: String,
        _ random: inout SeededRandom
    ) -> [(BlockRow, Int)] {
        let staging = copy.stagingOffset(notBefore: 4096 * random.below(1000))
        var rows: [(BlockRow, Int)] = []
        var regions: [VkBufferImageCopy2] = []
        copy.regions(from: start, count: count, stagingOffset: staging) { regions.append($0) }
        for region in regions {
            let broken = ImageModel.violations(of: region, shape: request.shape, rules: request.rules)
            #expect(broken.isEmpty, "\(name): \(region): \(request)")
            for (row, address) in ImageModel.rows(of: region, block: request.shape.block) {
                rows.append((row, address - staging + start))
            }
        }
        // The rest of a slice, whole slices, rows of one more.
        let mostRegions = 3 * Set(rows.map { [$0.0.mip, $0.0.x, $0.0.layer] }).count
        #expect(regions.count <= mostRegions, "\(name): \(regions.count) regions")
        return rows
    }
}

extension ImageRequest {
    init(shape: ImageShape, rules: TransferRules, parts: [ImageCopy.Part]) {
        self.shape = shape
        self.rules = rules
        self.parts = parts
    }
}

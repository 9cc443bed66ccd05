import CVulkan
import PenstockVulkan
import TestSupport
import Testing

/// Texel blocks are those of the specification.
@Suite struct ImageFormats {
    /// The formats 1 to 184, as runs of (how many, bytes, width, height), from the `vulkan_format_traits.hpp` that Khronos
    /// generates from its registry; depth and stencil formats as zero bytes.
    private static let core: [(count: Int, bytes: Int, width: Int, height: Int)] =
        [
            (1, 1, 1, 1), (7, 2, 1, 1), (7, 1, 1, 1), (7, 2, 1, 1), (14, 3, 1, 1), (33, 4, 1, 1), (7, 2, 1, 1),
            (7, 4, 1, 1), (7, 6, 1, 1), (7, 8, 1, 1), (3, 4, 1, 1), (3, 8, 1, 1), (3, 12, 1, 1), (3, 16, 1, 1),
            (3, 8, 1, 1), (3, 16, 1, 1), (3, 24, 1, 1), (3, 32, 1, 1), (2, 4, 1, 1), (7, 0, 1, 1), (4, 8, 4, 4),
            (4, 16, 4, 4), (2, 8, 4, 4), (6, 16, 4, 4), (4, 8, 4, 4), (2, 16, 4, 4), (2, 8, 4, 4), (2, 16, 4, 4),
        ]
        + [
            (4, 4), (5, 4), (5, 5), (6, 5), (6, 6), (8, 5), (8, 6), (8, 8), (10, 5), (10, 6), (10, 8), (10, 10),
            (12, 10),
            (12, 12),
        ].map { (2, 16, $0.0, $0.1) }

    @Test func coreFormatsHaveTheBlocksOfTheRegistry() {
        var format: UInt32 = 1
        for run in Self.core {
            for _ in 0..<run.count {
                let expected =
                    run.bytes == 0 ? nil : TexelBlock(width: run.width, height: run.height, byteCount: run.bytes)
                #expect(TexelBlock(format: VkFormat(format)) == expected, "format \(format)")
                format += 1
            }
        }
        #expect(format == VK_FORMAT_ASTC_12x12_SRGB_BLOCK.rawValue + 1)
    }

    @Test func formatsWithoutABlockOfTheirOwnHaveNone() {
        for format in [
            VK_FORMAT_UNDEFINED, VK_FORMAT_D16_UNORM, VK_FORMAT_S8_UINT, VK_FORMAT_D32_SFLOAT_S8_UINT,
            VK_FORMAT_G8B8G8R8_422_UNORM, VK_FORMAT_G8_B8_R8_3PLANE_420_UNORM, VK_FORMAT_G16_B16R16_2PLANE_444_UNORM,
            VK_FORMAT_PVRTC1_2BPP_UNORM_BLOCK_IMG, VK_FORMAT_MAX_ENUM,
        ] {
            #expect(TexelBlock(format: format) == nil, "\(format)")
        }
    }

    @Test func formatsOfExtensions() {
        #expect(TexelBlock(format: VK_FORMAT_A4R4G4B4_UNORM_PACK16)?.byteCount == 2)
        #expect(TexelBlock(format: VK_FORMAT_R10X6G10X6_UNORM_2PACK16)?.byteCount == 4)
        #expect(
            TexelBlock(format: VK_FORMAT_ASTC_12x10_SFLOAT_BLOCK)
                == TexelBlock(width: 12, height: 10, byteCount: 16))
    }

    @Test func sizesOfMipLevels() throws {
        let block = try #require(TexelBlock(format: VK_FORMAT_BC1_RGB_UNORM_BLOCK))
        let shape = try ImageShape(block: block, width: 10, height: 5, mipLevels: 4, arrayLayers: 6)
        #expect(shape.extent(ofMip: 1) == TexelExtent(width: 5, height: 2))
        #expect(shape.extent(ofMip: 3) == TexelExtent(width: 1, height: 1))
        #expect((0..<4).map(shape.blocksPerRow) == [3, 2, 1, 1])
        #expect((0..<4).map(shape.rowsPerSlice) == [2, 1, 1, 1])
        #expect((0..<4).map(shape.byteCount(ofMip:)) == [48, 16, 8, 8])
        #expect(shape.byteCount == 480)
    }
}

import CVulkan

/// Formats with one size of texel block, whose numbers follow one another.
struct FormatClass: Sendable {
    let formats: ClosedRange<UInt32>
    let block: TexelBlock

    init(_ first: VkFormat, _ last: VkFormat, bytes: Int, block width: Int = 1, _ height: Int = 1) {
        self.init(first.rawValue, last.rawValue, bytes: bytes, block: width, height)
    }

    init(_ first: UInt32, _ last: UInt32, bytes: Int, block width: Int = 1, _ height: Int = 1) {
        formats = first...last
        block = TexelBlock(width: width, height: height, byteCount: bytes)
    }
}

extension TexelBlock {
    static let classes = uncompressed + packedExtensions + blockCompressed + astc

    private static let uncompressed: [FormatClass] = [
        FormatClass(VK_FORMAT_R4G4_UNORM_PACK8, VK_FORMAT_R4G4_UNORM_PACK8, bytes: 1),
        FormatClass(VK_FORMAT_R4G4B4A4_UNORM_PACK16, VK_FORMAT_A1R5G5B5_UNORM_PACK16, bytes: 2),
        FormatClass(VK_FORMAT_R8_UNORM, VK_FORMAT_R8_SRGB, bytes: 1),
        FormatClass(VK_FORMAT_R8G8_UNORM, VK_FORMAT_R8G8_SRGB, bytes: 2),
        FormatClass(VK_FORMAT_R8G8B8_UNORM, VK_FORMAT_B8G8R8_SRGB, bytes: 3),
        FormatClass(VK_FORMAT_R8G8B8A8_UNORM, VK_FORMAT_A2B10G10R10_SINT_PACK32, bytes: 4),
        FormatClass(VK_FORMAT_R16_UNORM, VK_FORMAT_R16_SFLOAT, bytes: 2),
        FormatClass(VK_FORMAT_R16G16_UNORM, VK_FORMAT_R16G16_SFLOAT, bytes: 4),
        FormatClass(VK_FORMAT_R16G16B16_UNORM, VK_FORMAT_R16G16B16_SFLOAT, bytes: 6),
        FormatClass(VK_FORMAT_R16G16B16A16_UNORM, VK_FORMAT_R16G16B16A16_SFLOAT, bytes: 8),
        FormatClass(VK_FORMAT_R32_UINT, VK_FORMAT_R32_SFLOAT, bytes: 4),
        FormatClass(VK_FORMAT_R32G32_UINT, VK_FORMAT_R32G32_SFLOAT, bytes: 8),
        FormatClass(VK_FORMAT_R32G32B32_UINT, VK_FORMAT_R32G32B32_SFLOAT, bytes: 12),
        FormatClass(VK_FORMAT_R32G32B32A32_UINT, VK_FORMAT_R32G32B32A32_SFLOAT, bytes: 16),
        FormatClass(VK_FORMAT_R64_UINT, VK_FORMAT_R64_SFLOAT, bytes: 8),
        FormatClass(VK_FORMAT_R64G64_UINT, VK_FORMAT_R64G64_SFLOAT, bytes: 16),
        FormatClass(VK_FORMAT_R64G64B64_UINT, VK_FORMAT_R64G64B64_SFLOAT, bytes: 24),
        FormatClass(VK_FORMAT_R64G64B64A64_UINT, VK_FORMAT_R64G64B64A64_SFLOAT, bytes: 32),
        FormatClass(VK_FORMAT_B10G11R11_UFLOAT_PACK32, VK_FORMAT_E5B9G9R9_UFLOAT_PACK32, bytes: 4),
    ]

    private static let packedExtensions: [FormatClass] = [
        FormatClass(VK_FORMAT_A4R4G4B4_UNORM_PACK16, VK_FORMAT_A4B4G4R4_UNORM_PACK16, bytes: 2),
        // A1B5G5R5_UNORM_PACK16 and A8_UNORM of VK_KHR_maintenance5, by number: Debian 12's headers are older.
        FormatClass(1_000_470_000, 1_000_470_000, bytes: 2),
        FormatClass(1_000_470_001, 1_000_470_001, bytes: 1),
        // 10 and 12 bits in 16, one plane, full resolution.
        FormatClass(VK_FORMAT_R10X6_UNORM_PACK16, VK_FORMAT_R10X6_UNORM_PACK16, bytes: 2),
        FormatClass(VK_FORMAT_R10X6G10X6_UNORM_2PACK16, VK_FORMAT_R10X6G10X6_UNORM_2PACK16, bytes: 4),
        FormatClass(
            VK_FORMAT_R10X6G10X6B10X6A10X6_UNORM_4PACK16, VK_FORMAT_R10X6G10X6B10X6A10X6_UNORM_4PACK16, bytes: 8),
        FormatClass(VK_FORMAT_R12X4_UNORM_PACK16, VK_FORMAT_R12X4_UNORM_PACK16, bytes: 2),
        FormatClass(VK_FORMAT_R12X4G12X4_UNORM_2PACK16, VK_FORMAT_R12X4G12X4_UNORM_2PACK16, bytes: 4),
        FormatClass(
            VK_FORMAT_R12X4G12X4B12X4A12X4_UNORM_4PACK16, VK_FORMAT_R12X4G12X4B12X4A12X4_UNORM_4PACK16, bytes: 8),
    ]

    private static let blockCompressed: [FormatClass] = [
        FormatClass(VK_FORMAT_BC1_RGB_UNORM_BLOCK, VK_FORMAT_BC1_RGBA_SRGB_BLOCK, bytes: 8, block: 4, 4),
        FormatClass(VK_FORMAT_BC2_UNORM_BLOCK, VK_FORMAT_BC3_SRGB_BLOCK, bytes: 16, block: 4, 4),
        FormatClass(VK_FORMAT_BC4_UNORM_BLOCK, VK_FORMAT_BC4_SNORM_BLOCK, bytes: 8, block: 4, 4),
        FormatClass(VK_FORMAT_BC5_UNORM_BLOCK, VK_FORMAT_BC7_SRGB_BLOCK, bytes: 16, block: 4, 4),
        FormatClass(VK_FORMAT_ETC2_R8G8B8_UNORM_BLOCK, VK_FORMAT_ETC2_R8G8B8A1_SRGB_BLOCK, bytes: 8, block: 4, 4),
        FormatClass(VK_FORMAT_ETC2_R8G8B8A8_UNORM_BLOCK, VK_FORMAT_ETC2_R8G8B8A8_SRGB_BLOCK, bytes: 16, block: 4, 4),
        FormatClass(VK_FORMAT_EAC_R11_UNORM_BLOCK, VK_FORMAT_EAC_R11_SNORM_BLOCK, bytes: 8, block: 4, 4),
        FormatClass(VK_FORMAT_EAC_R11G11_UNORM_BLOCK, VK_FORMAT_EAC_R11G11_SNORM_BLOCK, bytes: 16, block: 4, 4),
    ]

    /// Every size has a linear and an sRGB format in the core, and an HDR format in a list of its own.
    private static let astc: [FormatClass] = {
        let sizes = [
            (4, 4), (5, 4), (5, 5), (6, 5), (6, 6), (8, 5), (8, 6), (8, 8), (10, 5), (10, 6), (10, 8), (10, 10),
            (12, 10), (12, 12),
        ]
        return zip(sizes, UInt32(0)...).flatMap { size, index in
            let ldr = VK_FORMAT_ASTC_4x4_UNORM_BLOCK.rawValue + 2 * index
            let hdr = VK_FORMAT_ASTC_4x4_SFLOAT_BLOCK.rawValue + index
            return [
                FormatClass(ldr, ldr + 1, bytes: 16, block: size.0, size.1),
                FormatClass(hdr, hdr, bytes: 16, block: size.0, size.1),
            ]
        }
    }()
}

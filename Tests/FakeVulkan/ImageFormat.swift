import CVulkan

/// The block of texels that a format is made of.
struct ImageFormat {
    let width: UInt32
    let height: UInt32
    let bytes: Int

    /// Nil for a format that the fake does not support.
    init?(_ format: VkFormat) {
        switch format {
        case VK_FORMAT_R8_UNORM: (width, height, bytes) = (1, 1, 1)
        case VK_FORMAT_R8G8_UNORM: (width, height, bytes) = (1, 1, 2)
        case VK_FORMAT_R8G8B8A8_UNORM, VK_FORMAT_R8G8B8A8_SRGB, VK_FORMAT_B8G8R8A8_UNORM, VK_FORMAT_B8G8R8A8_SRGB,
            VK_FORMAT_R32_SFLOAT:
            (width, height, bytes) = (1, 1, 4)
        case VK_FORMAT_R16G16B16A16_SFLOAT: (width, height, bytes) = (1, 1, 8)
        case VK_FORMAT_R32G32B32A32_SFLOAT: (width, height, bytes) = (1, 1, 16)
        default:
            let number = format.rawValue
            switch number {
            case VK_FORMAT_BC1_RGB_UNORM_BLOCK.rawValue...VK_FORMAT_BC1_RGBA_SRGB_BLOCK.rawValue,
                VK_FORMAT_BC4_UNORM_BLOCK.rawValue...VK_FORMAT_BC4_SNORM_BLOCK.rawValue,
                VK_FORMAT_ETC2_R8G8B8_UNORM_BLOCK.rawValue...VK_FORMAT_ETC2_R8G8B8A1_SRGB_BLOCK.rawValue,
                VK_FORMAT_EAC_R11_UNORM_BLOCK.rawValue...VK_FORMAT_EAC_R11_SNORM_BLOCK.rawValue:
                (width, height, bytes) = (4, 4, 8)
            case VK_FORMAT_BC2_UNORM_BLOCK.rawValue...VK_FORMAT_BC3_SRGB_BLOCK.rawValue,
                VK_FORMAT_BC5_UNORM_BLOCK.rawValue...VK_FORMAT_BC7_SRGB_BLOCK.rawValue,
                VK_FORMAT_ETC2_R8G8B8A8_UNORM_BLOCK.rawValue...VK_FORMAT_ETC2_R8G8B8A8_SRGB_BLOCK.rawValue,
                VK_FORMAT_EAC_R11G11_UNORM_BLOCK.rawValue...VK_FORMAT_EAC_R11G11_SNORM_BLOCK.rawValue:
                (width, height, bytes) = (4, 4, 16)
            case VK_FORMAT_ASTC_4x4_UNORM_BLOCK.rawValue...VK_FORMAT_ASTC_12x12_SRGB_BLOCK.rawValue:
                // UNORM and SRGB of each footprint, in this order.
                let footprints: [(UInt32, UInt32)] = [
                    (4, 4), (5, 4), (5, 5), (6, 5), (6, 6), (8, 5), (8, 6), (8, 8), (10, 5), (10, 6), (10, 8), (10, 10),
                    (12, 10), (12, 12),
                ]
                let footprint = footprints[Int(number - VK_FORMAT_ASTC_4x4_UNORM_BLOCK.rawValue) / 2]
                (width, height, bytes) = (footprint.0, footprint.1, 16)
            default:
                return nil
            }
        }
    }

    func columns(_ texels: UInt32) -> Int { Int((texels + width - 1) / width) }
    func rows(_ texels: UInt32) -> Int { Int((texels + height - 1) / height) }
}

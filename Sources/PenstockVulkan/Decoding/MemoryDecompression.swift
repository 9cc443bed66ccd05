import CVulkan
import Penstock

/// GDeflate pages decoded by the device's driver: one command for all pages of a batch.
///
/// Nothing is ever heard of a page: there is no status, and what becomes of a malformed one is undefined. So this is for
/// pages whose bytes are known to be what was encoded, see ``Penstock/SinkDecoding/isVerified``.
package struct MemoryDecompression: Sendable {
    /// The extensions that offer it, the better one first: NVIDIA's says nothing of stages and usages.
    package enum Extension: String, Sendable, CaseIterable {
        case ext = "VK_EXT_memory_decompression"
        case nv = "VK_NV_memory_decompression"
    }

    private enum Command {
        case ext(PFN_vkCmdDecompressMemoryEXT)
        case nv(PFN_vkCmdDecompressMemoryNV)
    }

    /// Pages for one command. The extensions' regions of a page differ in the method alone.
    typealias Region = VkDecompressMemoryRegionNV

    let kind: Extension
    private let command: Command
    private let getBufferDeviceAddress: PFN_vkGetBufferDeviceAddress

    /// Nil where a function is missing.
    init?(_ kind: Extension, _ functions: DeviceFunctions) {
        guard let getBufferDeviceAddress = functions.getBufferDeviceAddress else { return nil }
        switch kind {
        case .ext:
            guard let function = functions.cmdDecompressMemoryEXT else { return nil }
            command = .ext(function)
        case .nv:
            guard let function = functions.cmdDecompressMemoryNV else { return nil }
            command = .nv(function)
        }
        self.kind = kind
        self.getBufferDeviceAddress = getBufferDeviceAddress
    }

    // MARK: Buffers

    /// Usages of buffers that pages are read from and written to, beside what else they are for.
    var usage: VkFlags64 {
        let address = VkFlags64(VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT.rawValue)
        return kind == .ext ? address | VK_BUFFER_USAGE_2_MEMORY_DECOMPRESSION_BIT_EXT : address
    }

    /// Where the device has a buffer, which has ``usage`` and memory.
    func address(of buffer: VkBuffer, _ device: VkDevice) -> VkDeviceAddress {
        var info = VkBufferDeviceAddressInfo()
        info.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO
        info.buffer = buffer
        return getBufferDeviceAddress(device, &info)
    }

    // MARK: Commands

    /// A page of an encoded size that is a multiple of 4, which every sound page's is; both addresses are such, too.
    static func region(
        from source: VkDeviceAddress, encodedBytes count: Int, to destination: VkDeviceAddress
    ) -> Region {
        // Room for any page, however few bytes it is said to hold: too small a number is undefined behaviour.
        Region(
            srcAddress: source, dstAddress: destination, compressedSize: UInt64(count),
            decompressedSize: UInt64(SinkDecoding.pageSize),
            decompressionMethod: VK_MEMORY_DECOMPRESSION_METHOD_GDEFLATE_1_0_BIT_NV)
    }

    /// Records the command. There are regions.
    func record(_ regions: [Region], into buffer: VkCommandBuffer) {
        switch command {
        case .nv(let decompress):
            regions.withUnsafeBufferPointer { decompress(buffer, UInt32($0.count), $0.baseAddress) }
        case .ext(let decompress):
            let plain = regions.map {
                VkDecompressMemoryRegionEXT(
                    srcAddress: $0.srcAddress, dstAddress: $0.dstAddress, compressedSize: $0.compressedSize,
                    decompressedSize: $0.decompressedSize)
            }
            plain.withUnsafeBufferPointer { regions in
                var info = VkDecompressMemoryInfoEXT()
                info.sType = VK_STRUCTURE_TYPE_DECOMPRESS_MEMORY_INFO_EXT
                info.decompressionMethod = VK_MEMORY_DECOMPRESSION_METHOD_GDEFLATE_1_0_BIT_EXT
                info.regionCount = UInt32(regions.count)
                info.pRegions = regions.baseAddress
                decompress(buffer, &info)
            }
        }
    }

    /// Where the command reads and writes. NVIDIA's extension names no stage; it counts as a compute shader (Khronos,
    /// Vulkan-Docs issue 2341).
    var stage: VkPipelineStageFlags2 {
        kind == .ext ? VK_PIPELINE_STAGE_2_MEMORY_DECOMPRESSION_BIT_EXT : VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT
    }
    var reads: VkAccessFlags2 {
        kind == .ext ? VK_ACCESS_2_MEMORY_DECOMPRESSION_READ_BIT_EXT : VK_ACCESS_2_SHADER_READ_BIT
    }
    var writes: VkAccessFlags2 {
        kind == .ext ? VK_ACCESS_2_MEMORY_DECOMPRESSION_WRITE_BIT_EXT : VK_ACCESS_2_SHADER_WRITE_BIT
    }
}

import CVulkan
import FakeVulkan
import TestSupport
import Testing

@testable import PenstockVulkan

/// What decodes pages on a fake machine: in place of the shader, and in place of the driver's own decoder, which knows only
/// the pages that it has been told of.
final class FakeDecoders: Sendable {
    /// The sizes that sound pages decode to.
    private let sizes = Shared<[[UInt8]: Int]>([:])
    /// What each has decoded, or, of the driver's, what was never to reach it.
    let byShader = Log<[UInt8]>()
    let byDriver = Log<[UInt8]>()
    let strangers = Log<[UInt8]>()

    func know(_ page: EncodedPage) { sizes.change { $0[page.bytes] = page.count } }

    /// A machine with both.
    func machine(_ extensions: Set<String> = []) -> FakeVulkan.Configuration {
        .with {
            $0.kernel = kernel
            $0.decompressor = decompressor
            $0.deviceExtensions = extensions
        }
    }

    /// `gdeflate.comp`, by the decoder of the CPU.
    private var kernel: FakeVulkan.Kernel {
        { [byShader] buffers, constants in
            let count = constants.withUnsafeBytes { Int($0.loadUnaligned(as: UInt32.self)) }
            let (encoded, decoded, statuses) = (buffers[0], buffers[1], buffers[3])
            var accesses: [FakeVulkan.KernelAccess] = []
            for index in 0..<count {
                let page = buffers[2].load(fromByteOffset: 16 * index, as: DecodePipeline.Page.self)
                let source = 4 * Int(page.source)..<4 * Int(page.source) + Int(page.sourceCount)
                let target = 4 * Int(page.destination)..<4 * Int(page.destination) + Int(page.count)
                let encodedPage = EncodedPage(bytes: Array(encoded[source]), count: Int(page.count))
                byShader.add(encodedPage.bytes)
                // Its atomics set bits in zeros.
                let bytes = decoded[target].contains { $0 != 0 } ? nil : encodedPage.decodedOnCPU
                if let bytes { UnsafeMutableRawBufferPointer(rebasing: decoded[target]).copyBytes(from: bytes) }
                let status = bytes == nil ? DecodePipeline.Status.malformed : .decoded
                statuses.storeBytes(of: status.rawValue, toByteOffset: 4 * (1 + index), as: UInt32.self)
                accesses.append(.init(0, source, isWrite: false))
                accesses.append(.init(1, target, isWrite: true))
            }
            accesses.append(.init(2, 0..<16 * count, isWrite: false))
            accesses.append(.init(3, 0..<4 * (1 + count), isWrite: true))
            return accesses
        }
    }

    private var decompressor: FakeVulkan.Decompressor {
        { [byDriver, strangers, sizes] source, target in
            let bytes = Array(source)
            guard let count = sizes.now[bytes], count <= target.count,
                let decoded = EncodedPage(bytes: bytes, count: count).decodedOnCPU
            else { return strangers.add(bytes) }
            byDriver.add(bytes)
            UnsafeMutableRawBufferPointer(rebasing: target[0..<count]).copyBytes(from: decoded)
        }
    }
}

/// Who offers what, and what comes of it.
enum DecompressionOffer: String, CaseIterable, CustomTestStringConvertible {
    case none, ext, nv, both
    case noFeature, noAddresses, noMethod
    /// `VK_EXT_memory_decompression` without usages of 64 bits; with the other extension, or without.
    case noUsages, noUsagesButNV
    case noCommand, noAddressCommand

    var testDescription: String { rawValue }

    private static let extNames: Set = ["VK_EXT_memory_decompression", "VK_KHR_maintenance5"]
    private static let nvNames: Set = ["VK_NV_memory_decompression"]

    var extensions: Set<String> {
        switch self {
        case .none: ["VK_KHR_maintenance5"]
        case .nv: Self.nvNames
        case .both, .noFeature, .noAddresses, .noMethod, .noUsagesButNV, .noAddressCommand:
            Self.extNames.union(Self.nvNames)
        case .ext, .noUsages, .noCommand: Self.extNames
        }
    }

    func change(_ configuration: inout FakeVulkan.Configuration) {
        switch self {
        case .none, .ext, .nv, .both: break
        case .noFeature: configuration.hasMemoryDecompression = false
        case .noAddresses: configuration.hasBufferDeviceAddress = false
        case .noMethod: configuration.decompressionMethods = 2
        case .noUsages, .noUsagesButNV: configuration.hasMaintenance5 = false
        case .noCommand: configuration.missingFunctions = ["vkCmdDecompressMemoryEXT"]
        case .noAddressCommand: configuration.missingFunctions = ["vkGetBufferDeviceAddress"]
        }
    }

    /// Nil: the shader.
    var expected: MemoryDecompression.Extension? {
        switch self {
        case .ext, .both: .ext
        case .nv, .noUsagesButNV: .nv
        case .none, .noFeature, .noAddresses, .noMethod, .noUsages, .noCommand, .noAddressCommand: nil
        }
    }
}

import Penstock
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// The devices of this machine. Each is tested: those that decompress memory against the shader and the decoder of the
    /// CPU, those that do not for using the shader all the same.
    @Suite(.timeLimit(.minutes(5))) struct MemoryDecompressionHere {
        @Test func everyDeviceDecodesAlikeInAllWays() async throws {
            var random = seededOnce("memory decompression")
            var pages: [EncodedPage] = []
            for sample in Sample.allCases {
                for level in [0, 1, 6, 12] {
                    for size in [1, 2, 3, 123, 4000, 65_535, 65_536] {
                        pages.append(try EncodedPage(sample.bytes(size, &random), level: level))
                    }
                }
            }
            let expected = pages.map(\.decodedOnCPU)
            let devices = try GPUDevice.all().filter(\.isUsable)
            try #require(!devices.isEmpty, "a machine without a Vulkan device cannot run the tests")
            for physical in devices {
                var configuration = GPUDevice.Configuration()
                configuration.name = physical.name
                let log = ValidationLog()
                configuration.validation = { log.add($0) }
                let device = try GPUDevice(configuration)
                guard device.canDecode(SinkDecoding.gdeflatePage) else { continue }
                let rig = try ShaderRig(device)
                let byShader = try rig.decode(pages)
                #expect(rig.decompressed == 0)
                let verified = try rig.decode(pages) { _ in true }
                rig.destroy()
                let comment: Comment = "\(physical.name), seed \(random.seed)"
                #expect(byShader == expected, comment)
                #expect(verified == byShader, comment)
                let offers = physical.memoryDecompression != nil
                #expect(device.decompresses(SinkDecoding.gdeflatePage) == offers, comment)
                #expect(rig.decompressed == (offers ? pages.count : 0), comment)
                #expect(log.all.isEmpty, "\(log.all.joined(separator: "\n"))")
            }
        }
    }
}

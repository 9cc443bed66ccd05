import CVulkan
import FakeVulkan
import PenstockVulkan
import TestSupport
import Testing

/// What decompression must not be asked for.
@Suite struct FakeDecompressionRules {
    @Test(arguments: misuses)
    func brokenRuleIsReportedAndNoOther(misuse: Misuse) throws {
        let (isReported, others) = try misuse.reports()
        #expect(isReported)
        #expect(others.isEmpty)
    }

    @Test(arguments: [true, false])
    func whatIsRightIsDone(isEXT: Bool) throws {
        let done = Shared<[Int]>([])
        var configuration = machine(isEXT ? [ext, "VK_KHR_maintenance5"] : [nv])
        configuration.execution = .manual
        configuration.decompressor = { source, target in
            done.change { $0 += [source.count, target.count] }
            target.copyBytes(from: repeatElement(7, count: target.count))
        }
        let rig = try FakeRig(configuration)
        let buffer = rig.decompressible(isEXT: isEXT)
        rig.submit(
            rig.commands(rig.pool()) { commands in
                rig.decompress(commands, buffer, [(4, 1024, 100, 200)], isEXT: isEXT)
            })
        rig.fake.runAll()
        #expect(done.now == [100, 200])
        let bytes = rig.fake.contents(of: buffer.handle)
        #expect(bytes[1024..<1224].allSatisfy { $0 == 7 } && bytes[1224] != 7 && bytes[1023] != 7)
        #expect(rig.fake.violations.isEmpty)
    }
}

private let ext = "VK_EXT_memory_decompression"
private let nv = "VK_NV_memory_decompression"

private func machine(_ extensions: Set<String>) -> FakeVulkan.Configuration {
    .with {
        $0.deviceExtensions = extensions
        $0.decompressor = { _, _ in }
    }
}

private let both = machine([ext, nv, "VK_KHR_maintenance5"])

/// Records a command with these regions of one buffer: from, to, bytes before and after.
private func regions(
    _ regions: [(UInt64, UInt64, UInt64, UInt64)]
) -> @Sendable (FakeRig) -> Void {
    { rig in
        let buffer = rig.decompressible(isEXT: true)
        _ = rig.commands(rig.pool()) { rig.decompress($0, buffer, regions, isEXT: true) }
    }
}

/// A copy, a barrier with these stages and accesses, and decompression of what was copied.
private func barrier(to stage: UInt64, _ access: UInt64, isEXT: Bool) -> @Sendable (FakeRig) -> Void {
    { rig in
        let (source, buffer) = (rig.buffer(4096, type: 1), rig.decompressible(isEXT: isEXT))
        rig.submit(
            rig.commands(rig.pool()) { commands in
                rig.copy(commands, source, buffer, [(0, 0, 400)])
                rig.barrier(commands, to: stage, access: access)
                rig.decompress(commands, buffer, [(0, 1024, 400, 4096)], isEXT: isEXT)
            })
        rig.fake.runAll()
    }
}

private let misuses: [Misuse] = [
    Misuse("an odd source", "srcAddress-07685", both, regions([(2, 1024, 8, 8)])),
    Misuse("an odd destination", "dstAddress-07687", both, regions([(0, 1023, 8, 8)])),
    Misuse("no source", "compressedSize-11795", both, regions([(0, 1024, 0, 8)])),
    Misuse("no destination", "decompressedSize-11796", both, regions([(0, 1024, 8, 0)])),
    Misuse("more than a page", "decompressionMethod-09395", both, regions([(0, 1024, 8, 65_537)])),
    Misuse("no regions", "regionCount-arraylength", both, regions([])),
    Misuse("one destination twice", "srcAddress-07691", both, regions([(0, 1024, 8, 8), (16, 1028, 8, 8)])),
    Misuse("onto a source", "srcAddress-07691", both, regions([(0, 8, 12, 8)])),
    Misuse("a buffer that is not made for it", "Address-11764", both) { rig in
        let buffer = rig.decompressible(isEXT: false)
        _ = rig.commands(rig.pool()) { rig.decompress($0, buffer, [(0, 65_536, 8, 8)], isEXT: true) }
    },
    Misuse("a usage that the device does not know", "VkBufferUsageFlags2CreateInfo", machine([nv])) { rig in
        _ = rig.decompressible(isEXT: true)
    },
    Misuse("memory without addresses", "bufferDeviceAddress-03339", both) { rig in
        let usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT.rawValue
        _ = rig.buffer(64, type: 0, usage: usage)
    },
    Misuse("the address of a buffer that has none", "buffer-02601", both) { rig in
        _ = rig.address(of: rig.buffer(64, type: 0))
    },
    Misuse(
        "too early for the extension", "SYNC-HAZARD-READ-AFTER-WRITE", both,
        barrier(
            to: VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, VK_ACCESS_2_SHADER_READ_BIT, isEXT: true)),
    Misuse(
        "too early for NVIDIA's", "SYNC-HAZARD-READ-AFTER-WRITE", both,
        barrier(
            to: VK_PIPELINE_STAGE_2_COPY_BIT, VK_ACCESS_2_TRANSFER_READ_BIT, isEXT: false)),
    Misuse("a stage of another extension", "srcStageMask-parameter", machine([nv])) { rig in
        _ = rig.commands(rig.pool()) {
            rig.barrier($0, to: VK_PIPELINE_STAGE_2_MEMORY_DECOMPRESSION_BIT_EXT, access: 0)
        }
    },
    Misuse("a read of what is not done", "SYNC-HAZARD-READ-AFTER-WRITE", both) { rig in
        let (target, buffer) = (rig.buffer(4096, type: 0), rig.decompressible(isEXT: true))
        rig.submit(
            rig.commands(rig.pool()) { commands in
                rig.decompress(commands, buffer, [(0, 1024, 400, 4096)], isEXT: true)
                rig.barrier(commands)
                rig.copy(commands, buffer, target, [(1024, 0, 4096)])
            })
        rig.fake.runAll()
    },
]

extension FakeRig {
    /// A buffer of three pages that may be decompressed in.
    fileprivate func decompressible(isEXT: Bool) -> Buffer {
        let usage =
            VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue | VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue
            | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT.rawValue
        var wide = VkBufferUsageFlags2CreateInfoKHR()
        wide.sType = VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO_KHR
        wide.usage = VkFlags64(usage) | VK_BUFFER_USAGE_2_MEMORY_DECOMPRESSION_BIT_EXT
        var info = VkBufferCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO
        info.size = 3 << 16
        info.usage = usage
        var buffer: VkBuffer?
        withUnsafePointer(to: &wide) { wide in
            if isEXT { info.pNext = UnsafeRawPointer(wide) }
            precondition(vk.createBuffer(device, &info, nil, &buffer) == VK_SUCCESS)
        }
        let memory = allocate(3 << 16, type: 0, hasAddresses: true)
        precondition(vk.bindBufferMemory(device, buffer, memory.handle, 0) == VK_SUCCESS)
        return Buffer(handle: buffer!, memory: memory)
    }

    fileprivate func address(of buffer: Buffer) -> UInt64 {
        var info = VkBufferDeviceAddressInfo()
        info.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO
        info.buffer = buffer.handle
        return vk.getBufferDeviceAddress!(device, &info)
    }

    fileprivate func decompress(
        _ commands: VkCommandBuffer, _ buffer: Buffer, _ regions: [(UInt64, UInt64, UInt64, UInt64)], isEXT: Bool
    ) {
        let base = address(of: buffer)
        guard isEXT else {
            let regions = regions.map {
                VkDecompressMemoryRegionNV(
                    srcAddress: base + $0.0, dstAddress: base + $0.1, compressedSize: $0.2, decompressedSize: $0.3,
                    decompressionMethod: 1)
            }
            return vk.cmdDecompressMemoryNV!(commands, UInt32(regions.count), regions)
        }
        let plain = regions.map {
            VkDecompressMemoryRegionEXT(
                srcAddress: base + $0.0, dstAddress: base + $0.1, compressedSize: $0.2, decompressedSize: $0.3)
        }
        plain.withUnsafeBufferPointer { regions in
            var info = VkDecompressMemoryInfoEXT()
            info.sType = VK_STRUCTURE_TYPE_DECOMPRESS_MEMORY_INFO_EXT
            info.decompressionMethod = VK_MEMORY_DECOMPRESSION_METHOD_GDEFLATE_1_0_BIT_EXT
            info.regionCount = UInt32(regions.count)
            info.pRegions = regions.baseAddress
            vk.cmdDecompressMemoryEXT!(commands, &info)
        }
    }
}

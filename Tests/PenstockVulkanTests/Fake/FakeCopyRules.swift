import CVulkan
import FakeVulkan
import PenstockVulkan
import Testing

/// What a copy must not do, by what it says.
@Suite struct FakeCopyRules {
    @Test(arguments: bufferMisuses + imageMisuses)
    func brokenRuleIsReportedAndNoOther(misuse: Misuse) throws {
        let (isReported, others) = try misuse.reports()
        #expect(isReported)
        #expect(others.isEmpty)
    }
}

private func copies(
    _ regions: [(from: UInt64, to: UInt64, size: UInt64)]
) -> @Sendable (FakeRig) -> Void {
    { rig in
        let source = rig.buffer(4096, type: 1)
        let destination = rig.buffer(2048, type: 0)
        _ = rig.commands(rig.pool()) { rig.copy($0, source, destination, regions) }
    }
}

private let source = VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue
private let destination = VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue

private let bufferMisuses: [Misuse] = [
    Misuse("more than the source has", "VUID-VkCopyBufferInfo2-size-00115", .init(), copies([(4000, 0, 97)])),
    Misuse("more than the destination has", "VUID-VkCopyBufferInfo2-size-00116", .init(), copies([(0, 2000, 49)])),
    Misuse("from beyond the source", "VUID-VkCopyBufferInfo2-srcOffset-00113", .init(), copies([(4096, 0, 1)])),
    Misuse("to beyond the destination", "VUID-VkCopyBufferInfo2-dstOffset-00114", .init(), copies([(0, 2048, 1)])),
    Misuse("a size that overflows", "VUID-VkCopyBufferInfo2-size-00115", .init(), copies([(8, 8, .max)])),
    Misuse("nothing", "VUID-VkBufferCopy2-size-01988", .init(), copies([(0, 0, 0)])),
    Misuse("no regions", "VUID-VkCopyBufferInfo2-regionCount-arraylength", .init(), copies([])),
    Misuse("the same destination twice", "overlapping destinations", .init(), copies([(0, 0, 8), (64, 7, 8)])),
    Misuse("onto its own source", "VUID-VkCopyBufferInfo2-pRegions-00117") { rig in
        let buffer = rig.buffer(4096, type: 0)
        _ = rig.commands(rig.pool()) { rig.copy($0, buffer, buffer, [(0, 64, 65)]) }
    },
    Misuse("a source that is none", "VUID-VkCopyBufferInfo2-srcBuffer-00118") { rig in
        let (from, to) = (rig.buffer(64, type: 1, usage: destination), rig.buffer(64, type: 0))
        _ = rig.commands(rig.pool()) { rig.copy($0, from, to, [(0, 0, 64)]) }
    },
    Misuse("a destination that is none", "VUID-VkCopyBufferInfo2-dstBuffer-00120") { rig in
        let (from, to) = (rig.buffer(64, type: 1), rig.buffer(64, type: 0, usage: source))
        _ = rig.commands(rig.pool()) { rig.copy($0, from, to, [(0, 0, 64)]) }
    },
    Misuse("a source without memory", "VUID-VkCopyBufferInfo2-srcBuffer-00119") { rig in
        let (from, to) = (rig.buffer(64, type: 1, isBound: false), rig.buffer(64, type: 0))
        _ = rig.commands(rig.pool()) { rig.copy($0, from, to, [(0, 0, 64)]) }
    },
    Misuse("outside of begin and end", "commandBuffer-recording") { rig in
        let (from, to) = (rig.buffer(64, type: 1), rig.buffer(64, type: 0))
        let commands = rig.commands(rig.pool()) { _ in }
        rig.copy(commands, from, to, [(0, 0, 64)])
    },
    Misuse("a buffer of another device", "belongs to another fake") { rig in
        let other = try FakeRig()
        let (from, to) = (rig.buffer(64, type: 1), other.buffer(64, type: 0))
        _ = rig.commands(rig.pool()) { rig.copy($0, from, to, [(0, 0, 64)]) }
    },
    Misuse("a buffer that has been destroyed", "has been destroyed") { rig in
        let (from, to) = (rig.buffer(64, type: 1), rig.buffer(64, type: 0))
        rig.vk.destroyBuffer(rig.device, to.handle, nil)
        _ = rig.commands(rig.pool()) { rig.copy($0, from, to, [(0, 0, 64)]) }
    },
]

/// Uploads to a 16 × 16 image, on the last queue family.
private func uploads(
    _ format: VkFormat, bytes: UInt64 = 4096, _ region: @escaping @Sendable (FakeRig) -> VkBufferImageCopy2
) -> @Sendable (FakeRig) -> Void {
    { rig in
        let source = rig.buffer(bytes, type: 1)
        let image = rig.image(16, 16, mips: 3, format: format)
        let family = UInt32(rig.fake.configuration.queueFamilies.count - 1)
        _ = rig.commands(rig.pool(family: family)) { commands in
            rig.transition(
                commands, image.handle, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL)
            rig.copy(commands, source, to: image.handle, [region(rig)])
        }
    }
}

private let rgba = VK_FORMAT_R8G8B8A8_UNORM
private let bc1 = VK_FORMAT_BC1_RGB_UNORM_BLOCK

private let imageMisuses: [Misuse] = [
    Misuse("buffer offset within a texel", "01558", .init(), uploads(rgba) { $0.region(4, 4, bufferOffset: 2) }),
    Misuse("buffer offset within a block", "01558", .init(), uploads(bc1) { $0.region(4, 4, bufferOffset: 4) }),
    Misuse("offset within a block", "07274", .init(), uploads(bc1) { $0.region(4, 4, x: 2) }),
    Misuse("row within a block", "07275", .init(), uploads(bc1) { $0.region(4, 4, y: 2) }),
    Misuse("half a block's width", "00207", .init(), uploads(bc1) { $0.region(6, 4) }),
    Misuse("half a block's height", "00208", .init(), uploads(bc1) { $0.region(4, 6) }),
    Misuse("wider than the mip", "06218", .init(), uploads(rgba) { $0.region(9, 1, mip: 1) }),
    Misuse("higher than the mip", "06219", .init(), uploads(rgba) { $0.region(1, 4, y: 5, mip: 1) }),
    Misuse("no such mip", "07967", .init(), uploads(rgba) { $0.region(1, 1, mip: 3) }),
    Misuse("no such layer", "07968", .init(), uploads(rgba) { $0.region(1, 1, layers: 2) }),
    Misuse("rows shorter than the region", "09101", .init(), uploads(rgba) { $0.region(8, 8, rowLength: 7) }),
    Misuse("rows of half blocks", "09106", .init(), uploads(bc1) { $0.region(4, 4, rowLength: 6) }),
    Misuse("more than the buffer has", "00171", .init(), uploads(rgba, bytes: 1023) { $0.region(16, 16) }),
    Misuse(
        "odd buffer offset on a transfer queue", "07737", .transferQueue(granularity: (1, 1, 1)),
        uploads(VK_FORMAT_R8_UNORM) { $0.region(4, 4, bufferOffset: 2) }),
    Misuse(
        "offset between granules", "07738", .transferQueue(granularity: (16, 16, 8)),
        uploads(rgba) { $0.region(8, 16, x: 8) }),
    Misuse(
        "part of a mip where only whole ones go", "07738", .transferQueue(granularity: (0, 0, 0)),
        uploads(rgba) { $0.region(16, 8) }),
    Misuse("wrong layout when it runs", "InvalidImageLayout") { rig in
        let (source, image) = (rig.buffer(4096, type: 1), rig.image(16, 16))
        rig.submit(rig.commands(rig.pool()) { rig.copy($0, source, to: image.handle, [rig.region(16, 16)]) })
        rig.fake.runAll()
    },
    Misuse("barrier from a layout that it is not in", "VUID-VkImageMemoryBarrier2-oldLayout-01197") { rig in
        let image = rig.image(16, 16)
        rig.submit(
            rig.commands(rig.pool()) {
                rig.transition(
                    $0, image.handle, VK_IMAGE_LAYOUT_GENERAL, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL)
            })
        rig.fake.runAll()
    },
]

import CVulkan
import Glibc

/// Addresses of buffers, and the decompression of memory at them.
extension FakeVulkan {
    /// What a test does in place of the driver: decodes a page into as much room as its region has.
    package typealias Decompressor = @Sendable (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Void

    struct DecompressedRegion {
        let source: BoundRange
        let destination: BoundRange
    }

    static let vkGetBufferDeviceAddress: PFN_vkGetBufferDeviceAddress = { device, info in
        call("vkGetBufferDeviceAddress", device, FakeDevice.self, otherwise: 0) { fake, device in
            guard let info = info?.pointee, let buffer = fake.resolve(info.buffer, FakeBuffer.self, of: device) else {
                return 0
            }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, "VkBufferDeviceAddressInfo")
            fake.require(
                device.features.contains(.bufferDeviceAddress),
                "VUID-vkGetBufferDeviceAddress-bufferDeviceAddress-03324", "the feature is not enabled")
            fake.require(
                buffer.has(VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT), "VUID-VkBufferDeviceAddressInfo-buffer-02601",
                "\(buffer.name) has no SHADER_DEVICE_ADDRESS usage")
            fake.require(
                buffer.memory != nil, "VUID-VkBufferDeviceAddressInfo-buffer-02600", "\(buffer.name) has no memory")
            return buffer.address
        }
    }

    static let vkCmdDecompressMemoryEXT: PFN_vkCmdDecompressMemoryEXT = { buffer, info in
        call("vkCmdDecompressMemoryEXT", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard let info = info?.pointee else { return }
            fake.checkType(info.sType, VK_STRUCTURE_TYPE_DECOMPRESS_MEMORY_INFO_EXT, "VkDecompressMemoryInfoEXT")
            let regions = list(info.pRegions, info.regionCount).map {
                VkDecompressMemoryRegionNV(
                    srcAddress: $0.srcAddress, dstAddress: $0.dstAddress, compressedSize: $0.compressedSize,
                    decompressedSize: $0.decompressedSize, decompressionMethod: info.decompressionMethod)
            }
            fake.decompress(regions, commands, .decompression)
        }
    }

    static let vkCmdDecompressMemoryNV: PFN_vkCmdDecompressMemoryNV = { buffer, count, regions in
        call("vkCmdDecompressMemoryNV", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            // NVIDIA: treat it as a compute operation.
            fake.decompress(list(regions, count), commands, .compute)
        }
    }

    private func decompress(_ regions: [VkDecompressMemoryRegionNV], _ commands: FakeCommandBuffer, _ work: Work) {
        guard checkRecording(commands) else { return }
        require(
            commands.device.features.contains(.memoryDecompression),
            "VUID-vkCmdDecompressMemory-memoryDecompression-11761", "the feature is not enabled")
        require(
            !family(of: commands).isTransferOnly, "VUID-vkCmdDecompressMemory-commandBuffer-cmdpool",
            "the queue does not compute")
        require(!regions.isEmpty, "VUID-VkDecompressMemoryInfo-regionCount-arraylength", "no regions")
        let checked = regions.compactMap { check($0, commands.device, work) }
        checkOverlaps(checked)
        commands.record(.decompress(checked, work))
        for bound in checked.flatMap({ [$0.source, $0.destination] }) {
            commands.uses[bound.buffer.handle] = bound.buffer
            if let memory = bound.buffer.memory { commands.uses[memory.handle] = memory }
        }
    }

    private func check(
        _ region: VkDecompressMemoryRegionNV, _ device: FakeDevice, _ work: Work
    ) -> DecompressedRegion? {
        let prefix = "VUID-VkDecompressMemoryRegion"
        require(
            region.decompressionMethod == configuration.decompressionMethods, "\(prefix)-decompressionMethod-07690",
            "method \(region.decompressionMethod)")
        require(region.srcAddress % 4 == 0, "\(prefix)-srcAddress-07685", "not a multiple of 4")
        require(region.dstAddress % 4 == 0, "\(prefix)-dstAddress-07687", "not a multiple of 4")
        require(region.decompressedSize <= 65536, "\(prefix)-decompressionMethod-09395", "\(region.decompressedSize)")
        guard require(region.compressedSize > 0, "\(prefix)-compressedSize-11795", "0 bytes"),
            require(region.decompressedSize > 0, "\(prefix)-decompressedSize-11796", "0 bytes"),
            let source = bound(region.srcAddress, region.compressedSize, "\(prefix)-srcAddress", device, work),
            let destination = bound(region.dstAddress, region.decompressedSize, "\(prefix)-dstAddress", device, work)
        else { return nil }
        return DecompressedRegion(source: source, destination: destination)
    }

    private func bound(
        _ address: UInt64, _ size: UInt64, _ rule: String, _ device: FakeDevice, _ work: Work
    ) -> BoundRange? {
        guard let (buffer, offset) = FakeBuffer.at(address), buffer.device === device, !buffer.isDestroyed,
            require(
                offset < buffer.size && size <= buffer.size - offset, "\(rule)-07686",
                "\(size) bytes at \(offset) of \(buffer.size)")
        else {
            report("\(rule)-parameter", "\(String(address, radix: 16)) is no buffer's address")
            return nil
        }
        require(
            work.stage == Work.compute.stage || buffer.usage & VK_BUFFER_USAGE_2_MEMORY_DECOMPRESSION_BIT_EXT != 0,
            "\(rule)-11764", "\(buffer.name) has no MEMORY_DECOMPRESSION usage")
        return BoundRange(buffer: buffer, range: offset..<offset + size)
    }

    /// No destination may overlap another, or a source.
    private func checkOverlaps(_ regions: [DecompressedRegion]) {
        let all = regions.map { ($0.destination, true) } + regions.map { ($0.source, false) }
        let sorted = all.sorted {
            ($0.0.buffer.handle, $0.0.range.lowerBound) < ($1.0.buffer.handle, $1.0.range.lowerBound)
        }
        for (before, after) in zip(sorted, sorted.dropFirst())
        where before.0.buffer === after.0.buffer && before.0.range.overlaps(after.0.range) && (before.1 || after.1) {
            report("VUID-VkDecompressMemoryRegion-srcAddress-07691", "\(before.0.range) and \(after.0.range) overlap")
        }
    }

    func perform(decompress regions: [DecompressedRegion], as work: Work, _ batch: Batch) {
        for (buffer, ranges) in Self.byBuffer(regions.map(\.source)) {
            guard touch(buffer, ranges, isWrite: false, batch, as: work) else { return }
        }
        for (buffer, ranges) in Self.byBuffer(regions.map(\.destination)) {
            guard touch(buffer, ranges, isWrite: true, batch, as: work) else { return }
        }
        for region in regions {
            configuration.decompressor?(
                UnsafeRawBufferPointer(Self.bytes(of: region.source)), Self.bytes(of: region.destination))
        }
    }

    private static func byBuffer(_ ranges: [BoundRange]) -> [(FakeBuffer, [Range<UInt64>])] {
        Dictionary(grouping: ranges, by: \.buffer.handle).values.map { ($0[0].buffer, $0.map(\.range).merged()) }
    }

    static func bytes(of bound: BoundRange) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: bound.buffer.memory!.deviceBytes + Int(bound.buffer.offset + bound.range.lowerBound),
            count: bound.range.count)
    }
}

extension FakeBuffer {
    /// Where the device has it: the handle, with room for offsets.
    var address: UInt64 { UInt64(handle) << 36 }

    static func at(_ address: UInt64) -> (FakeBuffer, offset: UInt64)? {
        (HandleRegistry.shared.find(UInt(address >> 36)) as? FakeBuffer).map { ($0, address & ((1 << 36) - 1)) }
    }
}

extension FakeVulkan {
    /// Features beyond those that every device here has.
    struct Features: OptionSet {
        let rawValue: Int
        static let bufferDeviceAddress = Features(rawValue: 1)
        static let memoryDecompression = Features(rawValue: 2)
        static let maintenance5 = Features(rawValue: 4)
    }

    /// What the machine has, with these extensions.
    func features(with extensions: Set<String>) -> Features {
        var all: Features = []
        if configuration.hasBufferDeviceAddress { all.insert(.bufferDeviceAddress) }
        if configuration.hasMemoryDecompression, extensions.contains(where: { $0.hasSuffix("_memory_decompression") }) {
            all.insert(.memoryDecompression)
        }
        if configuration.hasMaintenance5, extensions.contains("VK_KHR_maintenance5") { all.insert(.maintenance5) }
        return all
    }

    /// What a device is asked to be made with. Structures of extensions that are not enabled are not its to have.
    func features(askedFor next: UnsafeRawPointer?, _ extensions: Set<String>) -> Features {
        var all: Features = []
        for (type, address) in chain(next) {
            switch type {
            case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES:
                if address.load(as: VkPhysicalDeviceVulkan12Features.self).bufferDeviceAddress != 0 {
                    all.insert(.bufferDeviceAddress)
                }
            case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_DECOMPRESSION_FEATURES_NV:
                require(
                    extensions.contains { $0.hasSuffix("_memory_decompression") }, "pNext",
                    "memory decompression's features without its extension")
                all.insert(.memoryDecompression)
            case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_5_FEATURES_KHR:
                require(extensions.contains("VK_KHR_maintenance5"), "pNext", "VK_KHR_maintenance5 is not enabled")
                all.insert(.maintenance5)
            default: break
            }
        }
        return all
    }
}

import CVulkan
import FakeVulkan
import Glibc
import PenstockVulkan
import TestSupport
import Testing

@Suite struct FakeMemoryRules {
    @Test(arguments: misuses)
    func brokenRuleIsReportedAndNoOther(misuse: Misuse) throws {
        let (isReported, others) = try misuse.reports()
        #expect(isReported)
        #expect(others.isEmpty)
    }

    @Test(arguments: [true, false])
    func missingFlushShowsAsWrongData(flushes: Bool) throws {
        var configuration = FakeVulkan.Configuration.nonCoherent
        configuration.execution = .manual
        let rig = try FakeRig(configuration)
        let (source, destination) = (rig.buffer(256, type: 1), rig.buffer(256, type: 0))
        memset(source.memory.bytes!, 7, 256)
        if flushes { rig.flush(source.memory, 64, 128) }
        rig.submit(rig.commands(rig.pool()) { rig.copy($0, source, destination, [(0, 0, 256)]) })
        rig.fake.runAll()
        let bytes = rig.fake.contents(of: destination.handle)
        #expect(bytes.map { $0 == 7 } == (0..<256).map { flushes && (64..<192).contains($0) })
        #expect(rig.fake.violations.isEmpty)
    }

    @Test func missingInvalidateShowsAsWrongData() throws {
        var configuration = FakeVulkan.Configuration.nonCoherent
        configuration.execution = .manual
        let rig = try FakeRig(configuration)
        let (host, device) = (rig.buffer(256, type: 1), rig.buffer(256, type: 0))
        rig.submit(
            rig.commands(rig.pool()) {
                rig.copy($0, device, host, [(0, 0, 256)])
                rig.hostBarrier($0)
            })
        rig.fake.runAll()
        #expect(host.memory.bytes!.load(as: UInt8.self) == 0xEE)
        rig.invalidate(host.memory, 0, 256)
        #expect(host.memory.bytes!.load(as: UInt8.self) == 0xDD)
        #expect(rig.fake.violations.isEmpty)
    }

    @Test func importedMemoryIsTheHostsOwn() throws {
        let rig = try FakeRig()
        let pages = UnsafeMutableRawPointer.allocate(byteCount: 8192, alignment: 4096)
        defer { pages.deallocate() }
        let (result, memory) = rig.importing(pages, 8192, type: 1)
        #expect(result == VK_SUCCESS)
        var mapped: UnsafeMutableRawPointer?
        #expect(rig.vk.mapMemory(rig.device, memory, 0, VK_WHOLE_SIZE, 0, &mapped) == VK_SUCCESS)
        #expect(mapped == pages)
        rig.vk.freeMemory(rig.device, memory, nil)
        #expect(rig.fake.violations.isEmpty)
    }

    @Test func limitsAreKept() throws {
        let rig = try FakeRig(
            .with {
                $0.memoryLimit = 1000
                $0.importLimit = 0
            })
        let first = rig.allocate(600, type: 0)
        var info = VkMemoryAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
        info.allocationSize = 401
        var memory: VkDeviceMemory?
        #expect(rig.vk.allocateMemory(rig.device, &info, nil, &memory) == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        rig.vk.freeMemory(rig.device, first.handle, nil)
        #expect(rig.vk.allocateMemory(rig.device, &info, nil, &memory) == VK_SUCCESS)
        let pages = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { pages.deallocate() }
        #expect(rig.importing(pages, 4096, type: 1).0 == VK_ERROR_INVALID_EXTERNAL_HANDLE)
        #expect(rig.fake.violations.isEmpty)
        #expect(rig.fake.liveMemoryBytes == 401)
    }
}

extension FakeRig {
    fileprivate func flush(_ memory: Memory, _ offset: UInt64, _ size: UInt64) {
        var range = Self.range(memory, offset, size)
        _ = vk.flushMappedMemoryRanges(device, 1, &range)
    }

    fileprivate func invalidate(_ memory: Memory, _ offset: UInt64, _ size: UInt64) {
        var range = Self.range(memory, offset, size)
        _ = vk.invalidateMappedMemoryRanges(device, 1, &range)
    }

    private static func range(_ memory: Memory, _ offset: UInt64, _ size: UInt64) -> VkMappedMemoryRange {
        VkMappedMemoryRange(
            sType: VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, pNext: nil, memory: memory.handle, offset: offset, size: size)
    }
}

private func imports(
    _ offset: Int, _ size: UInt64, times: Int = 1
) -> @Sendable (FakeRig) -> Void {
    { rig in
        let pages = UnsafeMutableRawPointer.allocate(byteCount: 16384, alignment: 4096)
        defer { pages.deallocate() }
        var memories: [VkDeviceMemory?] = []
        for _ in 0..<times { memories.append(rig.importing(pages + offset, size, type: 1).1) }
        for memory in memories { rig.vk.freeMemory(rig.device, memory, nil) }
    }
}

private let misuses: [Misuse] = [
    Misuse("import of half a page", "VUID-VkMemoryAllocateInfo-allocationSize-01745", .init(), imports(0, 2048)),
    Misuse(
        "import from within a page", "VUID-VkImportMemoryHostPointerInfoEXT-pHostPointer-01749", .init(),
        imports(512, 4096)),
    Misuse("import of what is imported", "imported twice", .init(), imports(0, 8192, times: 2)),
    Misuse("import as memory that does not", "VUID-VkMemoryAllocateInfo-memoryTypeIndex-01744") { rig in
        let pages = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { pages.deallocate() }
        let (_, memory) = rig.importing(pages, 4096, type: 0)
        rig.vk.freeMemory(rig.device, memory, nil)
    },
    Misuse("mapped twice", "VUID-vkMapMemory-memory-00678") { rig in
        let memory = rig.allocate(64, type: 1)
        var bytes: UnsafeMutableRawPointer?
        _ = rig.vk.mapMemory(rig.device, memory.handle, 0, 64, 0, &bytes)
    },
    Misuse("device memory mapped", "VUID-vkMapMemory-memory-00682") { rig in
        var bytes: UnsafeMutableRawPointer?
        _ = rig.vk.mapMemory(rig.device, rig.allocate(64, type: 0).handle, 0, 64, 0, &bytes)
    },
    Misuse("flush from between atoms", "VUID-VkMappedMemoryRange-offset-00687", .nonCoherent) { rig in
        rig.flush(rig.allocate(256, type: 1), 32, 64)
    },
    Misuse("flush to between atoms", "VUID-VkMappedMemoryRange-size-01390", .nonCoherent) { rig in
        rig.flush(rig.allocate(256, type: 1), 64, 32)
    },
    Misuse("invalidate of more than is mapped", "VUID-VkMappedMemoryRange-size-00685", .nonCoherent) { rig in
        rig.invalidate(rig.allocate(256, type: 1), 128, 192)
    },
    Misuse("bound twice", "VUID-vkBindBufferMemory-buffer-07459") { rig in
        let buffer = rig.buffer(64, type: 0)
        _ = rig.vk.bindBufferMemory(rig.device, buffer.handle, buffer.memory.handle, 0)
    },
    Misuse("bound between alignments", "VUID-vkBindBufferMemory-memoryOffset-01036") { rig in
        let buffer = rig.buffer(64, type: 0, isBound: false)
        _ = rig.vk.bindBufferMemory(rig.device, buffer.handle, rig.allocate(4096, type: 0).handle, 8)
    },
    Misuse("bound beyond the memory", "VUID-vkBindBufferMemory-size-01037") { rig in
        let buffer = rig.buffer(64, type: 0, isBound: false)
        _ = rig.vk.bindBufferMemory(rig.device, buffer.handle, buffer.memory.handle, 64)
    },
    Misuse("buffer not for imported memory", "VUID-vkBindBufferMemory-memory-02985") { rig in
        let pages = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { pages.deallocate() }
        let (_, memory) = rig.importing(pages, 4096, type: 1)
        let buffer = rig.buffer(64, type: 1, isBound: false)
        _ = rig.vk.bindBufferMemory(rig.device, buffer.handle, memory, 0)
        rig.vk.freeMemory(rig.device, memory, nil)
    },
]

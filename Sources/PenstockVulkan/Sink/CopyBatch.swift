import CVulkan
import Penstock

/// Copies that wait for the next submission, gathered so that each pair of buffers takes one command.
struct CopyBatch {
    private struct Group {
        var source: VkBuffer
        var destination: VkBuffer
        var regions: [VkBufferCopy2] = []
    }

    /// Groups of earlier batches are kept for their arrays.
    private var groups: [Group] = []
    private var groupsInUse = 0
    private(set) var count = 0
    private(set) var bytes = 0

    /// A group that is as good as any other is looked for among so many; beyond, a pair may take two commands.
    private static let looksBack = 16

    var isEmpty: Bool { count == 0 }

    /// Adds a copy. One that continues the copy before it, on both sides, becomes part of it.
    mutating func add(
        from source: VkBuffer, _ sourceOffset: UInt64, to destination: VkBuffer, _ offset: UInt64, _ size: Int
    ) {
        let group = index(source, destination)
        count += 1
        bytes += size
        if let last = groups[group].regions.indices.last {
            let region = groups[group].regions[last]
            if region.srcOffset + region.size == sourceOffset, region.dstOffset + region.size == offset {
                groups[group].regions[last].size += UInt64(size)
                return
            }
        }
        groups[group].regions.append(
            VkBufferCopy2(
                sType: VK_STRUCTURE_TYPE_BUFFER_COPY_2, pNext: nil, srcOffset: sourceOffset, dstOffset: offset,
                size: UInt64(size)))
    }

    private mutating func index(_ source: VkBuffer, _ destination: VkBuffer) -> Int {
        var index = groupsInUse - 1
        while index >= max(0, groupsInUse - Self.looksBack) {
            if groups[index].source == source, groups[index].destination == destination { return index }
            index -= 1
        }
        if groupsInUse == groups.count {
            groups.append(Group(source: source, destination: destination))
        } else {
            groups[groupsInUse].source = source
            groups[groupsInUse].destination = destination
        }
        groupsInUse += 1
        return groupsInUse - 1
    }

    /// Records the copies, and forgets them.
    mutating func record(into buffer: VkCommandBuffer, _ functions: DeviceFunctions) {
        for index in 0..<groupsInUse {
            groups[index].regions.withUnsafeBufferPointer { regions in
                var info = VkCopyBufferInfo2()
                info.sType = VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2
                info.srcBuffer = groups[index].source
                info.dstBuffer = groups[index].destination
                info.regionCount = UInt32(regions.count)
                info.pRegions = regions.baseAddress
                functions.cmdCopyBuffer2(buffer, &info)
            }
            groups[index].regions.removeAll(keepingCapacity: true)
        }
        groupsInUse = 0
        count = 0
        bytes = 0
    }
}

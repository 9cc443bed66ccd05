/// Adjacent small reads of a batch, made one: 128 neighbours of 4 KiB cost a disk what one read of 512 KiB does, and the
/// page cache, which would otherwise join them, is not in the way of a direct read.
extension RequestRecord {
    /// Takes in the next request of the batch if it continues this one in the file, in memory and in the list.
    ///
    /// - Parameter limit: Bytes that the two may have together.
    mutating func absorb(_ next: RequestRecord, limit: Int) -> Bool {
        guard next.mayMerge, mayMerge, next.index == index + mergedCount, next.direction == direction,
            next.file!.toOpaque() == file!.toOpaque(), next.priority == priority, next.tag == tag, next.slab == slab,
            next.offset == offset + UInt64(length), next.address == address + length, length + next.length <= limit
        else { return false }
        length += next.length
        end = length
        mergedCount += 1
        return true
    }

    /// Gives each of the merged requests its part of the bytes that were read, from the first on.
    func distribute(over requests: [StorageRequest], _ body: (_ index: Int, _ count: Int) -> Void) {
        var left = outcome.count
        for index in Int(index)..<Int(index + mergedCount) {
            let count = min(left, requests[index].count)
            left -= count
            body(index, count)
        }
    }
}

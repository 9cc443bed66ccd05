import Penstock
import PenstockVulkan

extension Streamer {
    /// Bytes read at a time. The queue cuts them into pieces and has several of those in flight.
    private static let gpuReadSize = 4 << 20

    /// A file's bytes, by way of the GPU: read into its buffers, and back out of them for the checksum.
    func checksum(of asset: Asset, through ring: BufferRing) async throws(StorageError) -> Checksum {
        let file = try await queue.open(asset.path, caching: caching)
        var checksum = Checksum()
        var isAtEnd = false
        while !isAtEnd {
            let position = checksum.byteCount
            let count = Self.readSize(at: position, of: asset)
            try await ring.withSlice(of: count) { slice throws(StorageError) in
                // The GPU has the bytes when this returns. Where host and GPU share memory, nobody has copied them.
                let arrived = try await queue.read(from: file, at: UInt64(position), into: slice)
                isAtEnd = arrived < count
                progress.add(bytes: arrived)
                guard verifies, arrived > 0 else { return checksum.skip(arrived) }
                try await readBack(slice, arrived, into: &checksum)
            }
        }
        return checksum
    }

    /// The rest of the file and a byte more, in whole pages: a read that comes back short has met the end, wherever that
    /// is by now.
    private static func readSize(at position: Int, of asset: Asset) -> Int {
        let rest = max(0, Int(clamping: asset.size) - position)
        return min(gpuReadSize, (rest / BufferRing.pageSize + 1) * BufferRing.pageSize)
    }

    /// Only the verification needs this: a game's bytes stay where they are.
    private func readBack(
        _ slice: GPUBuffer.Slice, _ count: Int, into checksum: inout Checksum
    ) async throws(StorageError) {
        let start = slice.range.lowerBound
        let copy = try await queue.allocate(byteCount: count)
        try await queue.write(slice.buffer[start..<start + count], to: copy[...])
        copy.withUnsafeBytes { checksum.update($0) }
    }
}

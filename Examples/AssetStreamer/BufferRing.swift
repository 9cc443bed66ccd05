import Penstock
import PenstockVulkan

/// A few large GPU buffers that files are packed into, one behind another. A buffer for each file would be an allocation
/// for each file, and drivers allow as few as 4096.
///
/// A buffer is filled from its start again once all that it held has been given back. Whoever finds them full waits.
actor BufferRing {
    private struct Room {
        let buffer: GPUBuffer
        /// Where the next bytes go.
        var position = 0
        /// How many still use what lies before it.
        var users = 0
    }

    private struct Place {
        let room: Int
        let slice: GPUBuffer.Slice
    }

    /// Room enough for every task to have its largest read in flight.
    private static let bufferSize = 64 << 20
    private static let bufferCount = 3
    /// Reads into the middle of a page are several times slower.
    static let pageSize = 4096

    private var rooms: [Room] = []
    private var current = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(on device: GPUDevice) throws(StorageError) {
        for _ in 0..<Self.bufferCount { rooms.append(Room(buffer: try device.makeBuffer(byteCount: Self.bufferSize))) }
    }

    /// Calls `body` with a slice of `count` bytes, and gives it back afterwards.
    nonisolated func withSlice(
        of count: Int, _ body: (GPUBuffer.Slice) async throws(StorageError) -> Void
    ) async throws(StorageError) {
        let place = await take(count)
        do throws(StorageError) {
            try await body(place.slice)
        } catch {
            await giveBack(place)
            throw error
        }
        await giveBack(place)
    }

    private func take(_ count: Int) async -> Place {
        while true {
            if let place = place(count) { return place }
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    /// Room in the buffer that is being filled, or else at the start of the next one, if nobody uses that any more.
    private func place(_ count: Int) -> Place? {
        if rooms[current].position + count > Self.bufferSize {
            let next = (current + 1) % rooms.count
            guard rooms[next].users == 0 else { return nil }
            rooms[next].position = 0
            current = next
        }
        let start = rooms[current].position
        rooms[current].users += 1
        rooms[current].position = (start + count + Self.pageSize - 1) / Self.pageSize * Self.pageSize
        return Place(room: current, slice: rooms[current].buffer[start..<start + count])
    }

    private func giveBack(_ place: Place) {
        rooms[place.room].users -= 1
        guard rooms[place.room].users == 0 else { return }
        rooms[place.room].position = 0
        for continuation in waiting { continuation.resume() }
        waiting = []
    }
}

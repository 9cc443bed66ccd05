package import SystemPackage

extension QueueCore {
    /// What another module keeps for this queue; made with the first call.
    package func companion<Companion: QueueCompanion>(
        _ make: () throws(StorageError) -> Companion
    ) throws(StorageError) -> Companion {
        try companions.find(make)
    }

    /// Reads from the page cache, on whatever thread calls and without ever sleeping.
    ///
    /// Not counted in the statistics: the bytes go on, and whoever takes them counts them.
    /// - Returns: The bytes read: fewer than asked only at the end of the file. Nil when they are not all cached, or may not
    ///   be read so, or the kernel has refused: the queue can tell which.
    package func readCached(
        _ file: StorageFile, at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer
    ) -> Int? {
        guard let address = bytes.baseAddress, bytes.count <= inlineLimit,
            let transfer = try? Transfer(.read, file, offset, address, bytes.count, core: self),
            let inline = try? readCached(transfer, .normal, isWhole: false), inline.isComplete
        else { return nil }
        return inline.count
    }

    /// A block of memory from an arena of the caller's; suspends until there is one, or the deadline has come.
    package func take(
        _ count: Int, from arena: SlabArena, path: FilePath?, deadline: ContinuousClock.Instant? = nil
    ) async throws(StorageError) -> SlabArena.Block {
        let left = deadline.map { RequestOptions.nanoseconds(until: $0) }
        return try await take(count, from: arena, .read, path: path, within: left ?? .max)
    }

    /// Fills a slice of a device's memory, piece by piece, by way of staging memory.
    ///
    /// - Parameter fill: Puts the range of the slice's bytes at the address.
    package func fill(
        _ slice: SinkSlice, _ options: RequestOptions,
        with fill: (UnsafeMutableRawPointer, Range<Int>) async throws(StorageError) -> Void
    ) async throws(StorageError) -> Int {
        try check(slice)
        return try await copy(slice, .read, options) { block, range throws(StorageError) in
            try await fill(block.address, range)
        } after: { _, _ in
        }
    }
}

import CLinux

/// What direct I/O on a file wants of offsets, lengths and memory, in bytes; from `statx`'s STATX_DIOALIGN (Linux 6.1).
struct DirectAlignment: Equatable, Sendable {
    /// Of the file offset and the length.
    var offset: Int
    /// Of the memory.
    var memory: Int

    init(offset: Int, memory: Int) {
        self.offset = offset
        self.memory = memory
    }

    /// Whether a transfer is aligned as a whole.
    func holds(offset: UInt64, address: UInt, length: Int) -> Bool {
        offset % UInt64(self.offset) == 0 && length % self.offset == 0 && address % UInt(memory) == 0
    }

    /// Nil where the file cannot be read directly.
    init?(_ status: linux_file_status) {
        switch status.direct_offset_alignment {
        case 0: return nil
        // The kernel does not say. A page satisfies every file system known; a refusal later demotes the file.
        case .max: self.init(offset: 4096, memory: 4096)
        default:
            self.init(offset: Int(status.direct_offset_alignment), memory: Int(max(1, status.direct_memory_alignment)))
        }
    }
}

/// How one piece of a request travels.
struct PiecePlan: Equatable {
    enum Route: Equatable {
        /// Through the page cache.
        case buffered
        /// Directly, into or from the caller's memory.
        case direct
        /// Directly into a bounce block, of which the piece's bytes start at `skip`.
        case bounced(skip: Int)
        /// Directly into staging memory, in which the piece's bytes start at `skip`.
        case landed(skip: Int)
    }

    var route: Route
    /// Where the system call starts in the file.
    var offset: UInt64
    /// How many bytes the system call moves.
    var length: Int
    /// How many bytes of the request that serves.
    var count: Int

    static func buffered(at position: UInt64, remaining: Int, limit: Int) -> PiecePlan {
        let count = min(remaining, limit)
        return PiecePlan(route: .buffered, offset: position, length: count, count: count)
    }

    /// A direct read: aligned as far as possible, the unaligned head and tail through a bounce block.
    ///
    /// - Parameter bounce: The size of a bounce block.
    static func directRead(
        at position: UInt64, address: UInt, remaining: Int, limit: Int, alignment: DirectAlignment, bounce: Int
    ) -> PiecePlan {
        let head = Int(position % UInt64(alignment.offset))
        let toBoundary = head == 0 ? 0 : alignment.offset - head
        let fits = (address &+ UInt(toBoundary)) % UInt(alignment.memory) == 0
        if head == 0, fits, remaining >= alignment.offset {
            let aligned = min(remaining, limit) / alignment.offset * alignment.offset
            let length = max(aligned, alignment.offset)
            return PiecePlan(route: .direct, offset: position, length: length, count: length)
        }
        // Up to where the memory is aligned again, or as much as a block holds when it never will be.
        let wanted = fits && head != 0 ? toBoundary : min(bounce - head, limit)
        let count = min(remaining, wanted)
        let length = (head + count + alignment.offset - 1) / alignment.offset * alignment.offset
        return PiecePlan(route: .bounced(skip: head), offset: position - UInt64(head), length: length, count: count)
    }

    /// A direct read into staging memory, which takes whole blocks; nil where the bytes would start at a place that their
    /// destination cannot be copied from.
    ///
    /// - Parameters:
    ///   - limit: Bytes that the system call moves, at most; `.max` where the count must not change.
    ///   - landing: What `skip` must be a multiple of.
    static func landed(
        at position: UInt64, count: Int, limit: Int, alignment: DirectAlignment, landing: Int
    ) -> PiecePlan? {
        let head = Int(position % UInt64(alignment.offset))
        guard head % landing == 0, alignment.memory <= SlabArena.smallestBlock else { return nil }
        // A piece that starts inside a block ends at one, so that the next need not.
        let count = limit == .max ? count : min(count, limit - head)
        let length = (head + count + alignment.offset - 1) / alignment.offset * alignment.offset
        return PiecePlan(route: .landed(skip: head), offset: position - UInt64(head), length: length, count: count)
    }

    /// A direct write. Only for requests that are aligned as a whole, see ``DirectAlignment/holds(offset:address:length:)``.
    static func directWrite(
        at position: UInt64, remaining: Int, limit: Int, alignment: DirectAlignment
    ) -> PiecePlan {
        let length = max(min(remaining, limit) / alignment.offset * alignment.offset, alignment.offset)
        return PiecePlan(route: .direct, offset: position, length: length, count: length)
    }
}

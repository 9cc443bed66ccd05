/// Host memory that requests read into and write from: page-aligned, on huge pages where the kernel gives them, from its
/// queue's slabs.
///
/// A handle: copies share the same memory, which goes back to the queue with the last of them. It is `Sendable` so that
/// child tasks and batches can hold it; as with any shared memory, do not touch the bytes of a request in flight.
///
/// ```swift
/// let buffer = try await queue.allocate(byteCount: 1 << 20)
/// let count = try await queue.read(from: file, into: buffer[0..<4096])
/// let checksum = buffer[0..<count].withUnsafeBytes { $0.reduce(0) { $0 &+ UInt64($1) } }
/// ```
public struct HostBuffer: Sendable {
    package final class Storage: Sendable {
        package let block: SlabArena.Block
        /// Nil: the memory is somebody else's, who keeps it until the last request has ended.
        package let arena: SlabArena?
        /// The same, to compare without touching a reference count; of memory that is somebody else's, no arena's.
        let arenaID: ObjectIdentifier

        init(block: SlabArena.Block, arena: SlabArena) {
            self.block = block
            self.arena = arena
            arenaID = ObjectIdentifier(arena)
        }

        init(borrowing address: UnsafeMutableRawPointer, count: Int) {
            block = SlabArena.Block(address: address, capacity: count, slab: -1)
            arena = nil
            arenaID = ObjectIdentifier(Storage.self)
        }

        deinit { arena?.release(block) }
    }

    package let storage: Storage
    /// How many bytes the buffer holds.
    public let count: Int

    package init(block: SlabArena.Block, count: Int, arena: SlabArena) {
        storage = Storage(block: block, arena: arena)
        self.count = count
    }

    /// A buffer of memory that is somebody else's, who keeps it as long as there are requests that name the buffer.
    package init(borrowing address: UnsafeMutableRawPointer, count: Int) {
        storage = Storage(borrowing: address, count: count)
        self.count = count
    }

    init(storage: Storage, count: Int) {
        self.storage = storage
        self.count = count
    }

    /// A slice of the buffer: where a request's bytes go to or come from.
    ///
    /// It may lie outside the buffer: the request then ends with ``StorageError/Code/invalidRange``, not with a trap.
    public subscript(range: Range<Int>) -> Slice { Slice(buffer: self, range: range) }

    /// The slice from `range`'s start to the end of the buffer.
    public subscript(range: PartialRangeFrom<Int>) -> Slice {
        Slice(buffer: self, range: range.lowerBound..<max(range.lowerBound, count))
    }

    /// The slice of the first bytes.
    public subscript(range: PartialRangeUpTo<Int>) -> Slice {
        Slice(buffer: self, range: min(0, range.upperBound)..<range.upperBound)
    }

    /// The whole buffer as a slice.
    public subscript(_: UnboundedRange) -> Slice { Slice(buffer: self, range: 0..<count) }

    /// The same memory, with only its first bytes counted.
    package func prefix(_ count: Int) -> HostBuffer { HostBuffer(storage: storage, count: min(count, self.count)) }

    /// Calls `body` with the buffer's bytes.
    public func withUnsafeBytes<R: ~Copyable, E>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafeRawBufferPointer(start: storage.block.address, count: count))
    }

    /// Calls `body` with the buffer's bytes, to change them.
    public func withUnsafeMutableBytes<R: ~Copyable, E>(
        _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafeMutableRawBufferPointer(start: storage.block.address, count: count))
    }
}

extension HostBuffer {
    /// A range of a ``HostBuffer``.
    public struct Slice: Sendable {
        /// The buffer that the slice is of.
        public let buffer: HostBuffer
        /// Which of the buffer's bytes, counted from its start.
        public let range: Range<Int>

        /// How many bytes the slice holds.
        public var count: Int { range.safeCount }

        /// The memory, or nil when the range does not lie in the buffer.
        package var address: UnsafeMutableRawPointer? {
            guard range.lowerBound >= 0, range.upperBound <= buffer.count else { return nil }
            return buffer.storage.block.address + range.lowerBound
        }

        /// Calls `body` with the slice's bytes.
        /// - Precondition: The slice lies in its buffer.
        public func withUnsafeBytes<R: ~Copyable, E>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
            let range = range
            return try buffer.withUnsafeBytes { bytes throws(E) in
                try body(UnsafeRawBufferPointer(rebasing: bytes[range]))
            }
        }

        /// Calls `body` with the slice's bytes, to change them.
        /// - Precondition: The slice lies in its buffer.
        public func withUnsafeMutableBytes<R: ~Copyable, E>(
            _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
        ) throws(E) -> R {
            let range = range
            return try buffer.withUnsafeMutableBytes { bytes throws(E) in
                try body(UnsafeMutableRawBufferPointer(rebasing: bytes[range]))
            }
        }
    }
}

extension Range<Int> {
    /// The count; of a range that has more elements than an `Int` can count, as many as it can. `count` would trap.
    package var safeCount: Int {
        let (count, overflow) = upperBound.subtractingReportingOverflow(lowerBound)
        return overflow ? .max : count
    }
}

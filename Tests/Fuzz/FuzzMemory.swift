import Glibc

/// Where a target keeps what it works on, so that an access outside is noticed even in a library that the address
/// sanitizer does not see into: a page that cannot be touched ends the process, and bytes that must not change are on the
/// other side.
///
/// One call's at a time.
package final class FuzzMemory {
    /// The most bytes of an input, and of what comes of it.
    static let capacity = 1 << 20

    /// What the bytes are pressed against.
    enum Side { case front, back }

    let source = Area()
    let destination = Area()
    let other = Area()

    package init() {}

    /// Memory between two pages that cannot be touched, mapped once for all inputs.
    final class Area {
        private static let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
        private static let canarySize = 64
        private static let canary: UInt8 = 0xC9

        private let mapping: UnsafeMutableRawPointer
        private let mappingSize = FuzzMemory.capacity + 2 * Area.pageSize
        private var canaries: UnsafeMutableRawBufferPointer

        init() {
            mapping = mmap(nil, mappingSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            precondition(mapping != MAP_FAILED, "no memory to fuzz in")
            let isWritable = mprotect(mapping + Self.pageSize, FuzzMemory.capacity, PROT_READ | PROT_WRITE) == 0
            precondition(isWritable, "no memory to fuzz in")
            canaries = UnsafeMutableRawBufferPointer(start: mapping + Self.pageSize, count: 0)
        }

        deinit { munmap(mapping, mappingSize) }

        /// So many bytes, all alike, until the next call.
        func take(_ count: Int, against side: Side, filledWith byte: UInt8) -> UnsafeMutableRawBufferPointer {
            precondition(count <= FuzzMemory.capacity - Self.canarySize, "more than a target may take")
            let first = mapping + Self.pageSize
            let start = side == .front ? first : first + FuzzMemory.capacity - count
            let canary = side == .front ? start + count : start - Self.canarySize
            canaries = UnsafeMutableRawBufferPointer(start: canary, count: Self.canarySize)
            memset(canary, Int32(Self.canary), Self.canarySize)
            memset(start, Int32(byte), count)
            return UnsafeMutableRawBufferPointer(start: start, count: count)
        }

        /// Those bytes.
        func take(_ bytes: UnsafeRawBufferPointer, against side: Side) -> UnsafeRawBufferPointer {
            let copy = take(bytes.count, against: side, filledWith: 0)
            copy.copyMemory(from: bytes)
            return UnsafeRawBufferPointer(copy)
        }

        /// Throws if anything has written next to the bytes.
        func requireUntouched() throws {
            try require(canaries.allSatisfy { $0 == Self.canary }, "bytes next to the memory given are as they were")
        }
    }
}

import Glibc

/// Destination memory as good as it gets, so that a baseline is not slowed by its buffers: 2 MiB-aligned, backed by
/// huge pages where the kernel gives them, touched before the clock starts.
///
/// `@unchecked Sendable`: the memory itself is not guarded. A bench runs one contestant at a time, and that contestant
/// alone uses it meanwhile.
final class AlignedBuffers: @unchecked Sendable {
    /// The start of each buffer; optional because that is how C's `void *const *` is seen.
    let pointers: [UnsafeMutableRawPointer?]
    /// Bytes in each buffer.
    let size: Int
    private let mapping: UnsafeMutableRawBufferPointer

    private static let hugePage = 2 << 20
    private static let page = 4096

    /// `count` buffers of `size` bytes each, next to one another, every one page-aligned.
    init(count: Int, size: Int) throws(BenchError) {
        let stride = (size + Self.page - 1) / Self.page * Self.page
        let slab = (max(count * stride, 1) + Self.hugePage - 1) / Self.hugePage * Self.hugePage
        // One huge page more than needed: mmap aligns to small pages only.
        let length = slab + Self.hugePage
        let address = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address, address != MAP_FAILED else {
            throw BenchError("cannot get \(Units.bytes(UInt64(length))) of memory", errno: errno)
        }
        mapping = UnsafeMutableRawBufferPointer(start: address, count: length)
        let start = address.alignedUp(toMultipleOf: Self.hugePage)
        // Advice: where it is refused, small pages do.
        _ = madvise(start, slab, MADV_HUGEPAGE)
        memset(start, 0, slab)
        self.size = size
        pointers = (0..<count).map { start + $0 * stride }
    }

    deinit {
        munmap(mapping.baseAddress, mapping.count)
    }

    subscript(index: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: pointers[index], count: size)
    }
}

extension UnsafeMutableRawPointer {
    fileprivate func alignedUp(toMultipleOf alignment: Int) -> UnsafeMutableRawPointer {
        self + (alignment - Int(bitPattern: self) % alignment) % alignment
    }
}

import CLinux

/// Where an arena's memory comes from.
package struct SlabSource: Sendable {
    /// A mapping of so many bytes, page-aligned, and whether it is on huge pages; nil: there is no memory. A slab has been
    /// touched; larger ones are for whoever gets them to touch.
    package let map: @Sendable (Int) -> (base: UnsafeMutableRawPointer, isHuge: Bool)?
    package let unmap: @Sendable (UnsafeMutableRawPointer, Int) -> Void

    package init(
        map: @escaping @Sendable (Int) -> (base: UnsafeMutableRawPointer, isHuge: Bool)?,
        unmap: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
    ) {
        self.map = map
        self.unmap = unmap
    }

    /// The kernel's: aligned to slabs, on huge pages where there are any.
    package static let mappings = SlabSource(
        map: { size in
            guard let base = linux_map_aligned(size, SlabArena.slabSize) else { return nil }
            return (base, prepare(base, size))
        },
        unmap: { linux_unmap($0, $1) })

    /// Somebody else's allocator.
    ///
    /// - Parameter allocate: Gets a size and an alignment, a power of two.
    package init(
        allocate: @escaping @Sendable (Int, Int) -> UnsafeMutableRawPointer?,
        deallocate: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
    ) {
        self.init(
            map: { size in
                guard let base = allocate(size, SlabArena.slabSize) else { return nil }
                // Blocks are told from one another by where their pages are.
                guard UInt(bitPattern: base) % UInt(SlabArena.slabSize) == 0 else {
                    deallocate(base, size)
                    return nil
                }
                return (base, Self.prepare(base, size))
            }, unmap: deallocate)
    }

    /// Asks for huge pages, says whether there are any, and touches a slab.
    private static func prepare(_ base: UnsafeMutableRawPointer, _ size: Int) -> Bool {
        let isHuge = linux_advise_huge(base, size)
        if size <= SlabArena.slabSize { linux_populate(base, size) }
        return isHuge
    }
}

/// One slab outside any arena, on huge pages where possible, touched; nil when the kernel has no memory.
func mapSlab() -> UnsafeMutableRawPointer? { SlabSource.mappings.map(SlabArena.slabSize)?.base }

func unmapSlab(_ base: UnsafeMutableRawPointer) { SlabSource.mappings.unmap(base, SlabArena.slabSize) }

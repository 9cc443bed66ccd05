/// What an archive may ask of its reader. An archive that asks for more is refused before anything is allocated for it.
public struct ArchiveLimits: Sendable, Hashable {
    /// The most entries of one archive.
    public var entries = 1 << 24
    /// The most bytes that an archive's table may take, which the reader holds in memory: 512 MiB, enough for 10 million
    /// small files or for 1 TiB in chunks of 64 KiB.
    public var tableBytes = 512 << 20
    /// The most uncompressed bytes of a chunk, a multiple of 4096: 16 MiB. A read needs memory for some of them.
    public var chunkBytes = 16 << 20

    /// The defaults.
    public init() {}
}

/// What the format itself lays down, in bytes where nothing else is said.
package enum ArchiveFormat {
    /// Like PNG's: not ASCII, and broken by whatever rewrites line ends.
    package static let magic: [UInt8] = [0x89, 0x50, 0x4E, 0x53, 0x54, 0x4B, 0x0D, 0x0A]
    package static let majorVersion: UInt16 = 1
    package static let minorVersion: UInt16 = 0
    package static let headerSize = 128
    package static let entrySize = 32
    package static let chunkSize = 24
    /// Every chunk begins at a multiple of this, and so does the table: what a copy to an image of the widest texel needs.
    package static let alignment: UInt64 = 16
    /// Where it helps direct I/O, chunks begin at a multiple of this. Also the unit of a chunk's uncompressed size, and
    /// more than any gap between two chunks.
    package static let blockSize: UInt64 = 4096
    /// The kernel's own limits of a path, without its NUL, and of a component.
    package static let longestPath = 4095
    package static let longestComponent = 255

    package static func aligned(_ offset: UInt64, to alignment: UInt64) -> UInt64 {
        (offset + alignment - 1) / alignment * alignment
    }
}

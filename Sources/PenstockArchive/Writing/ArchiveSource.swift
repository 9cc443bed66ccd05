public import SystemPackage

/// What becomes an entry of an archive.
public struct ArchiveSource: Sendable {
    /// Where an entry's bytes come from.
    public enum Content: Sendable {
        /// A regular file, whose size must stay what it is until it is packed.
        case file(FilePath, size: UInt64)
        /// Memory.
        case bytes([UInt8])
    }

    /// The entry's path: relative, with single slashes.
    public var path: String
    /// Its bytes.
    public var content: Content

    /// An entry from a file of so many bytes.
    public init(_ path: String, file: FilePath, size: UInt64) {
        self.path = path
        content = .file(file, size: size)
    }

    /// An entry from memory.
    public init(_ path: String, bytes: [UInt8]) {
        self.path = path
        content = .bytes(bytes)
    }

    /// The uncompressed size, in bytes.
    public var size: UInt64 {
        switch content {
        case .file(_, let size): size
        case .bytes(let bytes): UInt64(bytes.count)
        }
    }
}

/// How far the making or the reading of an archive has come.
public struct ArchiveProgress: Sendable, Hashable {
    /// Entries finished.
    public var entries = 0
    /// Entries in all.
    public var entryCount = 0
    /// Uncompressed bytes finished.
    public var bytes: UInt64 = 0
    /// Uncompressed bytes in all.
    public var byteCount: UInt64 = 0
}

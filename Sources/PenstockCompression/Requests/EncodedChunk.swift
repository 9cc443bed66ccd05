/// Where a chunk of encoded bytes lies in a file, and what it decodes to.
///
/// Chunks are decoded on their own, so that any number can be in work at once and any part of what they hold can be had
/// without the rest.
public struct EncodedChunk: Sendable, Hashable {
    /// Where in the file the chunk begins, in bytes.
    public var offset: UInt64
    /// The bytes that it has in the file.
    public var count: Int
    /// The bytes that it decodes to.
    public var decodedCount: Int
    /// The bytes in the file are the bytes themselves: encoding would not have made them fewer.
    public var isStored: Bool
    /// The hash of the bytes in the file, for requests that check it; nil: not known.
    public var checksum: UInt64?

    /// Describes a chunk.
    public init(
        offset: UInt64, count: Int, decodedCount: Int, isStored: Bool = false, checksum: UInt64? = nil
    ) {
        self.offset = offset
        self.count = count
        self.decodedCount = decodedCount
        self.isStored = isStored
        self.checksum = checksum
    }
}

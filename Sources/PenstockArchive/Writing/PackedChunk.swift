import Penstock
import PenstockCompression

/// A chunk as it is to be stored.
struct PackedChunk: Sendable {
    let bytes: HostBuffer.Slice
    let decodedCount: Int
    let checksum: UInt64

    var isStored: Bool { bytes.count == decodedCount }

    /// How many bytes a chunk takes while it is encoded: itself, and room for what it becomes.
    static func room(for count: Int, _ codec: (any Codec)?) -> Int {
        let (sum, overflow) = count.addingReportingOverflow(codec?.bound(of: count) ?? 0)
        return overflow ? .max : sum
    }

    /// Encodes what the front of the buffer holds into the rest of it. What would not shrink stays as it is.
    ///
    /// - Parameter buffer: ``room(for:_:)`` bytes.
    init(_ buffer: HostBuffer, count: Int, _ codec: (any Codec)?) throws(CodecError) {
        decodedCount = count
        var size = count
        if let codec, count > 0 {
            let (source, room) = (buffer[0..<count], buffer[count...])
            size = try source.withUnsafeBytes { source throws(CodecError) in
                try room.withUnsafeMutableBytes { room throws(CodecError) in
                    var destination = room.mutableBytes
                    let encoded = try codec.encode(source.bytes, into: &destination)
                    // A codec of the application's may say anything.
                    guard (0...room.count).contains(encoded) else {
                        throw CodecError(.sizeMismatch, "The codec gives \(encoded) bytes for \(room.count)")
                    }
                    return encoded
                }
            }
        }
        bytes = size > 0 && size < count ? buffer[count..<count + size] : buffer[0..<count]
        checksum = bytes.withUnsafeBytes { PenstockArchive.checksum($0) }
    }
}

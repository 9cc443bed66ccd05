/// A way to make bytes smaller and to get them back, one chunk at a time.
///
/// A codec has no state between calls, so any number of chunks can be worked on at once. Your own codecs conform too:
///
/// ```swift
/// struct Plain: Codec {
///     let identifier: CodecIdentifier = "mine"
///     let chunkSize = 1 << 20
///     func bound(of byteCount: Int) -> Int { byteCount }
///     …
/// }
/// ```
public protocol Codec: Sendable {
    /// What names the codec in files.
    var identifier: CodecIdentifier { get }

    /// The size of chunk, in uncompressed bytes, at which the codec is at its best.
    var chunkSize: Int { get }

    /// The most bytes that encoding so many bytes can give.
    func bound(of byteCount: Int) -> Int

    /// Compresses all of `source` into the front of `destination`.
    ///
    /// Never fails for want of room in a destination of ``bound(of:)`` bytes. On failure the destination's bytes are
    /// unspecified.
    /// - Returns: The size of the compressed bytes.
    func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int

    /// Decompresses all of `source` into all of `destination`.
    ///
    /// Any bytes may be given: they decode to exactly the destination's size, or the call throws. On failure the
    /// destination's bytes are unspecified; nothing outside it is ever touched.
    func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError)
}

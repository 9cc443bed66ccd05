/// Calls `body` with the spans as C libraries want them: never a null pointer, not even of nothing.
func withPointers<Result>(
    _ source: RawSpan, _ destination: inout MutableRawSpan,
    _ body: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) throws(CodecError) -> Result
) throws(CodecError) -> Result {
    try destination.withUnsafeMutableBytes { destination throws(CodecError) in
        try source.withUnsafeBytes { source throws(CodecError) in
            var nothing: UInt8 = 0
            return try withUnsafeMutableBytes(of: &nothing) { nothing throws(CodecError) in
                let none = nothing.baseAddress!
                return try body(
                    UnsafeRawBufferPointer(start: source.baseAddress ?? UnsafeRawPointer(none), count: source.count),
                    UnsafeMutableRawBufferPointer(start: destination.baseAddress ?? none, count: destination.count))
            }
        }
    }
}

import Penstock

/// Contexts of a C library, each in one call's hands at a time and kept for the next one: they are large, and setting one
/// up costs more than decoding a small chunk.
final class ContextStore: Sendable {
    /// No more are kept than calls that have gone on at once, nor than this.
    private static let mostKept = 64

    private let kept = Locked<[OpaquePointer]>([])
    private let make: @Sendable () -> OpaquePointer?
    private let free: @Sendable (OpaquePointer) -> Void

    init(make: @escaping @Sendable () -> OpaquePointer?, free: @escaping @Sendable (OpaquePointer) -> Void) {
        self.make = make
        self.free = free
    }

    deinit { kept.withLock { $0.forEach(free) } }

    func withContext<Result>(
        _ body: (OpaquePointer) throws(CodecError) -> Result
    ) throws(CodecError) -> Result {
        guard let context = kept.withLock({ $0.popLast() }) ?? make() else {
            throw CodecError(.outOfMemory, "There is no memory for the codec's tables")
        }
        defer {
            let isKept = kept.withLock { kept in
                guard kept.count < Self.mostKept else { return false }
                kept.append(context)
                return true
            }
            if !isKept { free(context) }
        }
        return try body(context)
    }
}

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

extension CodecError {
    /// What was decoded is not what was to be had.
    static func size(_ count: Int, of expected: Int) -> CodecError {
        CodecError(.sizeMismatch, "The chunk holds \(count) bytes, the destination \(expected)")
    }

    static let destinationTooSmall = CodecError(
        .destinationTooSmall, "The encoded bytes do not fit into the destination")
}

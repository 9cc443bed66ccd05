import Glibc
import PenstockCompression

/// Bytes between two pages that cannot be touched, pressed against one of them: an access outside ends the process.
final class GuardedBytes {
    enum Side: CaseIterable, Sendable { case front, back }

    private let mapping: UnsafeMutableRawPointer
    private let mappingSize: Int
    let bytes: UnsafeMutableRawBufferPointer

    init(count: Int, against side: Side) {
        let page = Int(getpagesize())
        let inner = (count + page - 1) / page * page
        mappingSize = inner + 2 * page
        mapping = mmap(nil, mappingSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(mapping != MAP_FAILED, "no memory for a test")
        precondition(inner == 0 || mprotect(mapping + page, inner, PROT_READ | PROT_WRITE) == 0)
        let start = mapping + page + (side == .front ? 0 : inner - count)
        bytes = UnsafeMutableRawBufferPointer(start: start, count: count)
    }

    convenience init(_ content: some Collection<UInt8>, against side: Side) {
        self.init(count: content.count, against: side)
        bytes.copyBytes(from: content)
    }

    deinit { munmap(mapping, mappingSize) }
}

extension Codec {
    /// The bytes encoded, from and to guarded memory.
    ///
    /// - Parameter room: How many bytes there is room for; nil: as many as it may take.
    func encoded(
        _ source: [UInt8], room: Int? = nil, side: GuardedBytes.Side = .back
    ) throws(CodecError) -> [UInt8] {
        let input = GuardedBytes(source, against: side)
        let output = GuardedBytes(count: room ?? bound(of: source.count), against: side)
        var destination = output.bytes.mutableBytes
        let size = try encode(UnsafeRawBufferPointer(input.bytes).bytes, into: &destination)
        return Array(output.bytes.prefix(size))
    }

    /// The bytes decoded to that size, from and to guarded memory.
    func decoded(_ source: [UInt8], count: Int, side: GuardedBytes.Side = .back) throws(CodecError) -> [UInt8] {
        let input = GuardedBytes(source, against: side)
        let output = GuardedBytes(count: count, against: side)
        var destination = output.bytes.mutableBytes
        try decode(UnsafeRawBufferPointer(input.bytes).bytes, into: &destination)
        return Array(output.bytes)
    }

    /// What decoding to that size fails with, or nil.
    func failure(_ source: [UInt8], count: Int, side: GuardedBytes.Side = .back) -> CodecError? {
        do throws(CodecError) {
            _ = try decoded(source, count: count, side: side)
            return nil
        } catch {
            return error
        }
    }
}

/// FNV-1a, which stands for bytes that are too many to list.
func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
    bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}

import CTestShims
import Penstock
import Testing

/// The bytes of a file, derived from their offsets: any range can be verified without its file.
package struct FilePattern: Sendable {
    /// Tells one file's bytes from another's.
    package var salt: UInt64

    package init(_ salt: UInt64 = 1) { self.salt = salt }

    package func fill(_ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        guard let base = bytes.baseAddress else { return }
        test_fill(base, bytes.count, offset, salt)
    }

    /// The index of the first wrong byte, or nil.
    package func mismatch(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        let index = test_mismatch(base, bytes.count, offset, salt)
        return index < 0 ? nil : Int(index)
    }

    package func matches(_ buffer: HostBuffer, at offset: UInt64 = 0) -> Bool {
        buffer.withUnsafeBytes { mismatch($0, at: offset) } == nil
    }

    package func matches(_ slice: HostBuffer.Slice, at offset: UInt64) -> Bool {
        slice.withUnsafeBytes { mismatch($0, at: offset) } == nil
    }

    package func fill(_ slice: HostBuffer.Slice, at offset: UInt64) {
        slice.withUnsafeMutableBytes { fill($0, at: offset) }
    }

    package func bytes(_ range: Range<Int>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            fill(UnsafeMutableRawBufferPointer(buffer), at: UInt64(range.lowerBound))
            count = range.count
        }
    }
}

import CXXHash

/// XXH3's 64-bit hash, unseeded: of a chunk's stored bytes, of the table, of the header.
package func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    guard let base = bytes.baseAddress else { return XXH3_64bits("", 0) }
    return XXH3_64bits(base, bytes.count)
}

package func checksum(_ bytes: RawSpan) -> UInt64 { bytes.withUnsafeBytes { checksum($0) } }

import CPenstock
import Glibc

/// The size that a larger struct than is known may have: more is a field that was never set.
private let largestStruct = 4096

/// Reads a struct whose first field is its size: what it lacks stays as it is in `value`, and what it has beyond that must
/// be zero, for this version would not do what it asks for.
func load<Struct: BitwiseCopyable>(_ source: UnsafePointer<Struct>?, over value: inout Struct) throws {
    guard let source else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
    let bytes = UnsafeRawPointer(source)
    let size = Int(bytes.loadUnaligned(as: UInt32.self))
    let known = MemoryLayout<Struct>.size
    if size == known {
        value = bytes.loadUnaligned(as: Struct.self)
        return
    }
    guard size >= MemoryLayout<UInt32>.size, size <= largestStruct else { throw Refusal(PENSTOCK_ERROR_STRUCT_SIZE) }
    for offset in min(known, size)..<size where bytes.load(fromByteOffset: offset, as: UInt8.self) != 0 {
        throw Refusal(PENSTOCK_ERROR_STRUCT_SIZE)
    }
    withUnsafeMutableBytes(of: &value) { value in
        value.copyMemory(from: UnsafeRawBufferPointer(start: bytes, count: min(known, size)))
    }
}

/// Writes a struct over one of the caller's, as much as it has room for by its own word; its size stays as it is, and
/// what it has beyond that becomes zero.
func store<Struct: BitwiseCopyable>(_ value: Struct, to destination: UnsafeMutablePointer<Struct>?) throws {
    guard let destination else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
    let bytes = UnsafeMutableRawPointer(destination)
    let first = MemoryLayout<UInt32>.size
    let size = Int(bytes.loadUnaligned(as: UInt32.self))
    guard size >= first, size <= largestStruct else { throw Refusal(PENSTOCK_ERROR_STRUCT_SIZE) }
    withUnsafeBytes(of: value) { value in
        let count = min(size, value.count) - first
        (bytes + first).copyMemory(from: value.baseAddress! + first, byteCount: count)
        if size > value.count { memset(bytes + value.count, 0, size - value.count) }
    }
}

/// A size as structs carry it.
func structSize<Struct>(of type: Struct.Type) -> UInt32 { UInt32(MemoryLayout<Struct>.size) }

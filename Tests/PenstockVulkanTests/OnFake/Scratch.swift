import CTestShims
import Glibc
import Penstock
import PenstockTesting
import SystemPackage

/// A directory of real files that goes with its test.
final class Scratch: Sendable {
    let path: FilePath

    init() {
        var template = Array("/tmp/penstock-fake-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: errno \(errno)") }
        path = FilePath(platformString: template)
    }

    deinit { _ = path.withPlatformString { test_remove_tree($0) } }

    func file(_ name: String) -> FilePath { path.appending(name) }

    /// Makes a file that holds the bytes.
    func make(_ name: String, _ bytes: [UInt8]) -> FilePath {
        let file = path.appending(name)
        let descriptor = try! FileDescriptor.open(
            file, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        _ = try! descriptor.writeAll(bytes)
        try! descriptor.close()
        return file
    }

    func make(_ name: String, count: Int, salt: UInt64 = 1) -> FilePath { make(name, Salted(salt).bytes(0..<count)) }

    func contents(_ name: String) -> [UInt8] {
        let descriptor = try! FileDescriptor.open(path.appending(name), .readOnly)
        defer { try! descriptor.close() }
        let size = Int(try! descriptor.seek(offset: 0, from: .end))
        return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            count = try! descriptor.read(fromAbsoluteOffset: 0, into: UnsafeMutableRawBufferPointer(buffer))
        }
    }
}

/// Bytes that belong to their offset in the file that the salt names.
struct Salted: Sendable {
    let salt: UInt64
    init(_ salt: UInt64 = 1) { self.salt = salt }

    func bytes(_ range: Range<Int>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            if let base = buffer.baseAddress { test_fill(base, range.count, UInt64(range.lowerBound), salt) }
            count = range.count
        }
    }

    /// Whether the slice holds what lies at the offset of the file.
    func matches(_ bytes: some RandomAccessCollection<UInt8>, at offset: Int = 0) -> Bool {
        let holds = bytes.withContiguousStorageIfAvailable { buffer in
            buffer.isEmpty || test_mismatch(buffer.baseAddress!, buffer.count, UInt64(offset), salt) < 0
        }
        return holds ?? matches(Array(bytes), at: offset)
    }
}

func isFilled(_ bytes: some RandomAccessCollection<UInt8>, with mark: UInt8) -> Bool {
    let holds = bytes.withContiguousStorageIfAvailable { buffer in
        buffer.isEmpty
            || (buffer[0] == mark && memcmp(buffer.baseAddress!, buffer.baseAddress! + 1, buffer.count - 1) == 0)
    }
    return holds ?? isFilled(Array(bytes), with: mark)
}

extension HostBuffer {
    var allBytes: [UInt8] { withUnsafeBytes { Array($0) } }
}

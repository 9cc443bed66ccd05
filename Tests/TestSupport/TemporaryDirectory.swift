import CTestShims
import Glibc
import SystemPackage

/// A directory of a test's own, on the disk that holds `/tmp`, with direct system calls to prepare what a queue will meet.
package final class TemporaryDirectory: Sendable {
    package let path: FilePath

    package init() {
        var template = Array("/tmp/penstock-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: errno \(errno)") }
        path = FilePath(platformString: template)
    }

    deinit { _ = path.withPlatformString { test_remove_tree($0) } }

    package subscript(_ name: String) -> FilePath { path.appending(name) }

    /// Makes a file that holds the pattern.
    @discardableResult
    package func make(_ name: String, count: Int, _ pattern: FilePattern = FilePattern()) -> FilePath {
        let file = self[name]
        let descriptor = try! FileDescriptor.open(
            file, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        defer { try! descriptor.close() }
        var offset = 0
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { block.deallocate() }
        while offset < count {
            let part = UnsafeMutableRawBufferPointer(rebasing: block[0..<min(block.count, count - offset)])
            pattern.fill(part, at: UInt64(offset))
            offset += try! descriptor.writeAll(UnsafeRawBufferPointer(part))
        }
        return file
    }

    /// Makes a file of zeros that takes no room on the disk.
    package func makeSparse(_ name: String, size: Int64) -> FilePath {
        let file = self[name]
        let descriptor = try! FileDescriptor.open(
            file, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        try! descriptor.resize(to: size)
        try! descriptor.close()
        return file
    }

    /// Writes the pattern into the middle of a file.
    package func write(_ file: FilePath, _ range: Range<Int64>, _ pattern: FilePattern = FilePattern()) {
        let descriptor = try! FileDescriptor.open(file, .writeOnly)
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 16)
        pattern.fill(bytes, at: UInt64(range.lowerBound))
        _ = try! descriptor.writeAll(toAbsoluteOffset: range.lowerBound, UnsafeRawBufferPointer(bytes))
        bytes.deallocate()
        try! descriptor.close()
    }

    /// What the file holds now, by plain system calls.
    package func contents(_ file: FilePath) -> [UInt8] {
        let descriptor = try! FileDescriptor.open(file, .readOnly)
        defer { try! descriptor.close() }
        let size = try! descriptor.seek(offset: 0, from: .end)
        return [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
            count = 0
            while count < Int(size) {
                let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count...])
                let read = try! descriptor.read(fromAbsoluteOffset: Int64(count), into: rest)
                if read == 0 { break }
                count += read
            }
        }
    }
}

/// Has the kernel forget the file's pages, so that reads of it go to the disk.
package func dropFromCache(_ file: FilePath) {
    let descriptor = try! FileDescriptor.open(file, .readOnly)
    guard fsync(descriptor.rawValue) == 0 else { fatalError("fsync: errno \(errno)") }
    let dontNeed: Int32 = 4  // POSIX_FADV_DONTNEED, which Glibc's module does not show as a number
    guard posix_fadvise(descriptor.rawValue, 0, 0, dontNeed) == 0 else { fatalError("fadvise") }
    try! descriptor.close()
}

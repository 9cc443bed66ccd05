import Glibc
import SystemPackage

/// A file to stream, and what its metadata were when it was found. Two are equal if nobody wrote to the file between.
struct Asset: Equatable, Sendable {
    let path: FilePath
    /// Bytes.
    let size: UInt64
    private let inode: UInt64
    private let modified: SIMD2<Int>
    private let changed: SIMD2<Int>

    init(_ path: FilePath, _ status: stat) {
        self.path = path
        size = UInt64(status.st_size)
        inode = UInt64(status.st_ino)
        modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
        changed = [status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
    }

    /// A number that changes when the file does.
    var fingerprint: UInt64 {
        [size, inode, UInt64(bitPattern: Int64(modified.x)), UInt64(bitPattern: Int64(modified.y))]
            .reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ $1) &* 0x100_0000_01B3 }
    }

    /// The file at the path as it is now; nil if there is none.
    init?(_ path: FilePath) {
        var status = stat()
        // Its path was looked up a moment ago: this does not wait for the disk.
        guard path.withPlatformString({ stat($0, &status) }) == 0 else { return nil }
        self.init(path, status)
    }
}

import CLinux
import Glibc

extension DriverOperation {
    /// How often a system call is made again that a signal has interrupted.
    private static let mostAttempts = 64

    /// Carries the operation out by system call, on the calling thread. Returns what it returned, or a negated errno. Reads
    /// and writes are the engine's to repeat.
    func performBlocking() -> Int32 {
        guard kind != .read && kind != .write else { return performOnce() }
        var result: Int32 = -EINTR
        for _ in 0..<Self.mostAttempts where result == -EINTR { result = performOnce() }
        return result
    }

    private func performOnce() -> Int32 {
        switch kind {
        case .read: Int32(linux_preadv2(descriptor, address, Int(length), Int64(offset), readWriteFlags))
        case .write: Int32(linux_pwritev2(descriptor, address, Int(length), Int64(offset), readWriteFlags))
        case .open: linux_openat2(address?.assumingMemoryBound(to: CChar.self), flags, mode, 0)
        case .status: linux_status(descriptor, address?.assumingMemoryBound(to: linux_file_status.self))
        case .sync: linux_fsync(descriptor, dataOnly)
        case .preallocate: linux_fallocate(descriptor, Int64(offset), Int64(byteCount))
        case .truncate: linux_ftruncate(descriptor, Int64(offset))
        }
    }

    private var readWriteFlags: Int32 { uncached ? Int32(LINUX_RWF_DONTCACHE) : 0 }
}

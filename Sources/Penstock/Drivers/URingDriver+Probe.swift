import CLiburing
import CLinux
import Glibc
import SystemPackage

/// Whether io_uring works here, found out by using it, never by the kernel's version.
extension URingDriver {
    /// Reads a page of a memory file through the ring. Returns 0 or a negated errno.
    static func tryRead(_ ring: OpaquePointer) -> Int32 {
        let descriptor = linux_memory_file("penstock-trial", 4096)
        guard descriptor >= 0 else { return descriptor }
        defer { _ = linux_close(descriptor) }
        let expected: [UInt8] = (0..<64).map { $0 ^ 0x5A }
        guard expected.withUnsafeBytes({ linux_pwritev2(descriptor, $0.baseAddress, 64, 0, 0) }) == 64 else {
            return -EIO
        }
        return withUnsafeTemporaryAllocation(byteCount: 64, alignment: 64) { memory in
            memory.initializeMemory(as: UInt8.self, repeating: 0)
            var sqe = penstock_sqe()
            sqe.opcode = UInt8(PENSTOCK_OP_READ)
            sqe.fd = descriptor
            sqe.address = UInt64(UInt(bitPattern: memory.baseAddress))
            sqe.length = 64
            guard penstock_ring_push(ring, &sqe) else { return -EBUSY }
            var cqe = penstock_cqe()
            // One read of a memory file ends at once; the second try is for a signal that ended the first wait.
            for _ in 0..<2 {
                let waited = penstock_ring_wait(ring, 5_000_000_000)
                if penstock_ring_reap(ring, &cqe, 1) == 1 {
                    guard cqe.result >= 0 else { return cqe.result }
                    return memory.elementsEqual(expected) ? 0 : -EIO
                }
                if waited < 0, waited != -EINTR { return waited }
            }
            return -ETIMEDOUT
        }
    }

    /// The error for a refused set-up, with the likely cause.
    static func refusal(_ errno: Int32, _ step: String) -> StorageError {
        let cause: String
        switch errno {
        case ENOSYS:
            cause = "the kernel was built without io_uring, or a seccomp filter hides it (as some containers do)"
        case EPERM, EACCES:
            cause =
                "a seccomp filter (a container's default profile, say) or the sysctl kernel.io_uring_disabled "
                + "(\(disabledSetting())) forbids it"
        case ENOMEM: cause = "the memory for the ring exceeds RLIMIT_MEMLOCK (kernels before 5.12); raise `ulimit -l`"
        case EMFILE, ENFILE: cause = "too many open files; raise `ulimit -n`"
        default: cause = "the kernel refused it"
        }
        return StorageError(
            .unavailable, .setUp, errno: .init(rawValue: errno), message: "\(step) failed: \(cause)")
    }

    private static func disabledSetting() -> String {
        var text = [UInt8](repeating: 0, count: 8)
        let descriptor = linux_openat2("/proc/sys/kernel/io_uring_disabled", UInt64(OpenFlag.closeOnExec), 0, 0)
        guard descriptor >= 0 else { return "not readable" }
        defer { _ = linux_close(descriptor) }
        let count = text.withUnsafeMutableBytes { linux_preadv2(descriptor, $0.baseAddress, 8, 0, 0) }
        guard count > 0 else { return "not readable" }
        return "is \(String(decoding: text.prefix(count).prefix { $0 >= 48 }, as: UTF8.self))"
    }

    static func features(of ring: OpaquePointer, files: Int32, buffers: Int32) -> [Capabilities.Feature] {
        let flags = penstock_ring_setup_flags(ring)
        let single = flags & UInt32(PENSTOCK_SETUP_SINGLE_ISSUER) != 0
        let deferred = flags & UInt32(PENSTOCK_SETUP_DEFER_TASKRUN) != 0
        let quiet = penstock_ring_features(ring) & UInt32(PENSTOCK_FEATURE_NO_IOWAIT) != 0
        let truncates = penstock_ring_supports(ring, UInt8(PENSTOCK_OP_FTRUNCATE))
        let registered = penstock_ring_is_registered(ring)
        return [
            Capabilities.Feature(
                "ring set-up", isAvailable: single && deferred,
                rung: single && deferred ? "SINGLE_ISSUER, DEFER_TASKRUN" : "plain",
                reason: single && deferred ? nil : "the kernel is older than 6.1"),
            Capabilities.Feature(
                "registered ring", isAvailable: registered, rung: registered ? "yes" : "ring descriptor looked up",
                reason: registered ? nil : "the kernel is older than 5.18"),
            Capabilities.Feature(
                "fixed files", isAvailable: files == 0,
                rung: files == 0 ? "\(fixedFileCount) places" : "plain descriptors",
                reason: files == 0 ? nil : "errno \(-files)"),
            Capabilities.Feature(
                "registered buffers", isAvailable: buffers == 0,
                rung: buffers == 0 ? "slabs, as RLIMIT_MEMLOCK allows" : "plain memory",
                reason: buffers == 0 ? nil : "errno \(-buffers)"),
            Capabilities.Feature(
                "quiet waiting", isAvailable: quiet,
                rung: quiet ? "ENTER_NO_IOWAIT" : "parked outside the ring when idle",
                reason: quiet ? nil : "the kernel is older than 6.15"),
            Capabilities.Feature(
                "asynchronous truncate", isAvailable: truncates, rung: truncates ? "FTRUNCATE" : "ftruncate(2)",
                reason: truncates ? nil : "the kernel is older than 6.9"),
        ]
    }
}

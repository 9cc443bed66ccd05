import CLinux
import Glibc

/// The only thing that talks to the kernel. One instance belongs to one ring thread, which makes every call but ``wake()``.
///
/// A driver never decides: it starts what it is told to and returns results as the kernel gave them. Limits, retries,
/// splitting and cancellation are the engine's. At most ``capacity`` operations are started and not reaped at a time.
package protocol StorageDriver: AnyObject {
    var kind: DriverKind { get }
    /// Operations in flight, at most.
    var capacity: Int { get }
    /// Whether descriptors are the kernel's own, so that the caller's thread may use them too (the inline path).
    var usesKernelDescriptors: Bool { get }

    /// Starts an operation, now or with the next ``flush()``. It ends with exactly one completion that carries `token`.
    func start(_ operation: DriverOperation, token: UInt64)
    /// Asks for an operation to end early. Only the operation's own completion tells whether it did.
    func cancel(_ token: UInt64)
    /// Hands what was started to the kernel and collects what is done, without waiting.
    func flush()
    /// Whether ``reap(into:)`` would find something now. No system call.
    var hasCompletions: Bool { get }
    func reap(into completions: UnsafeMutableBufferPointer<DriverCompletion>) -> Int
    /// Waits until a completion is ready, ``wake()`` is called, or `timeout` nanoseconds (`.max`: none) have passed.
    func park(timeout: UInt64, inFlight: Int)
    /// Ends a ``park(timeout:inFlight:)``, this one or the next. From any thread.
    func wake()
    /// Nanoseconds on the driver's clock.
    var now: UInt64 { get }

    /// The descriptor's file opened a second time, for direct I/O; or a negated errno. Never waits.
    func openDirectly(_ descriptor: Int32, flags: Int32) -> Int32
    /// Whether the byte is in the page cache. Never waits.
    func isCached(_ descriptor: Int32, at offset: UInt64) -> Bool
    /// Closes a descriptor that nothing is in flight on; returns 0 or a negated errno.
    @discardableResult
    func closeNow(_ descriptor: Int32) -> Int32

    /// Makes an open file cheaper to use. The number goes into ``DriverOperation/fixedFile``; −1: no place is left.
    func attach(_ descriptor: Int32) -> Int32
    func detach(_ fixedFile: Int32)
    /// Makes a slab cheaper to use. The number goes into ``DriverOperation/fixedBuffer``; −1: refused.
    func register(_ slab: UnsafeMutableRawPointer, count: Int) -> Int32
    /// Lets go of a slab that is gone. Nothing is in flight in it.
    func unregister(_ fixedBuffer: Int32)

    /// Nothing is in flight; the thread ends.
    func close()
}

extension StorageDriver {
    package func openDirectly(_ descriptor: Int32, flags: Int32) -> Int32 {
        linux_reopen(descriptor, flags | Int32(LINUX_O_DIRECT))
    }

    package func isCached(_ descriptor: Int32, at offset: UInt64) -> Bool {
        var byte: UInt8 = 0
        return linux_preadv2(descriptor, &byte, 1, Int64(offset), Int32(LINUX_RWF_NOWAIT)) != -Int(EAGAIN)
    }

    package func closeNow(_ descriptor: Int32) -> Int32 { linux_close(descriptor) }

    package func attach(_ descriptor: Int32) -> Int32 { -1 }
    package func detach(_ fixedFile: Int32) {}
    package func register(_ slab: UnsafeMutableRawPointer, count: Int) -> Int32 { -1 }
    package func unregister(_ fixedBuffer: Int32) {}
}

package struct DriverCompletion {
    package var token: UInt64
    /// What the system call would return: a count or a descriptor, or a negated errno.
    package var result: Int32

    package init(token: UInt64, result: Int32) {
        self.token = token
        self.result = result
    }
}

/// One system call, as data.
package struct DriverOperation {
    package enum Kind: UInt8 {
        /// `pread` of `length` bytes at `offset` into `address`.
        case read
        /// `pwrite`.
        case write
        /// `openat2` of the C string at `address`; `flags` and `mode`.
        case open
        /// `statx` of the descriptor into the `linux_file_status` at `address`.
        case status
        /// `fsync`, or `fdatasync` with `dataOnly`.
        case sync
        /// `fallocate` of `byteCount` bytes at `offset`.
        case preallocate
        /// `ftruncate` to `offset` bytes.
        case truncate
    }

    package var kind: Kind
    package var descriptor: Int32 = -1
    package var fixedFile: Int32 = -1
    package var fixedBuffer: Int32 = -1
    /// May run long in the kernel before it first sleeps: do not run it on the ring thread.
    package var runsLong = false
    /// Drop the pages from the cache afterwards (`RWF_DONTCACHE`).
    package var uncached = false
    package var dataOnly = false
    package var offset: UInt64 = 0
    package var address: UnsafeMutableRawPointer?
    package var length: UInt32 = 0
    package var byteCount: UInt64 = 0
    package var flags: UInt64 = 0
    package var mode: UInt32 = 0

    /// A simulated disk's descriptors start here and go down: never one of the kernel's, and never an errno.
    package static let firstSimulatedDescriptor: Int32 = -1_000_000

    package init(_ kind: Kind, descriptor: Int32 = -1) {
        self.kind = kind
        self.descriptor = descriptor
    }
}

/// Which driver moves the bytes.
public enum DriverKind: String, Sendable, CaseIterable {
    /// `io_uring`: the kernel's own asynchronous interface.
    case ioUring = "io_uring"
    /// Blocking system calls on a few threads; works everywhere.
    case threads
    /// A simulated disk, from `PenstockTesting`.
    case simulated
}

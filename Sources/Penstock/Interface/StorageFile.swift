import CLinux
import Synchronization
public import SystemPackage

/// An open file. Closed by ``close()``, or when the last reference goes.
///
/// Made by ``StorageQueue/open(_:_:caching:)``; offsets and sizes are bytes.
public final class StorageFile: Sendable {
    /// What the file is opened for. Combine with `.create` and the like for writing.
    public struct Access: OptionSet, Sendable {
        /// The options' bits; not the kernel's.
        public let rawValue: UInt8
        /// Makes access options from their bits.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Reading. `O_RDONLY`.
        public static let readOnly = Access(rawValue: 1)
        /// Writing. `O_WRONLY`.
        public static let writeOnly = Access(rawValue: 2)
        /// Reading and writing. `O_RDWR`.
        public static let readWrite: Access = [.readOnly, .writeOnly]
        /// Create the file if there is none, readable and writable as the umask allows. `O_CREAT`.
        public static let create = Access(rawValue: 4)
        /// With `.create`: fail if the file exists. `O_EXCL`.
        public static let exclusive = Access(rawValue: 8)
        /// Drop what the file held. `O_TRUNC`.
        public static let truncate = Access(rawValue: 16)

        var openFlags: UInt64 {
            var flags: Int32 =
                contains(.readWrite) ? OpenFlag.readWrite : contains(.writeOnly) ? OpenFlag.writeOnly : 0
            if contains(.create) { flags |= OpenFlag.create }
            if contains(.exclusive) { flags |= OpenFlag.exclusive }
            if contains(.truncate) { flags |= OpenFlag.truncate }
            // Not blocking, so that opening a FIFO cannot hang; regular files ignore it.
            return UInt64(flags | OpenFlag.closeOnExec | OpenFlag.nonBlocking | OpenFlag.noControllingTerminal)
        }
    }

    /// How the page cache is used.
    public enum Caching: String, Sendable, CaseIterable {
        /// Through the page cache; direct for bulk reads of what is not in it, where the file system can do that.
        case automatic
        /// Always through the page cache.
        case buffered
        /// Around the page cache (`O_DIRECT`). Reads at any offset, length and destination alignment; writes from the
        /// first unaligned one on go through the page cache. Falls back to buffered where the file system refuses.
        /// A read that meets the end of the file may change the slice behind the bytes that it returns.
        case direct
        /// Through the page cache, leaving nothing behind in it (`RWF_DONTCACHE`, Linux 6.14; else advice afterwards).
        case uncached
    }

    /// The path it was opened by.
    public let path: FilePath
    /// What it was opened for.
    public let access: Access
    /// How it uses the page cache.
    public let caching: Caching

    package let descriptor: Int32
    let core: QueueCore
    /// The same, to compare without touching a reference count.
    let coreID: ObjectIdentifier
    /// The size when the file was opened; later sizes are asked of the kernel.
    let sizeAtOpen: UInt64
    let device: UInt64
    let alignment: DirectAlignment?
    let closed = Atomic<Bool>(false)
    /// What only the ring thread touches, and `deinit`, which nothing can race with.
    nonisolated(unsafe) var onRing = OnRing()

    struct OnRing {
        /// Not opened yet. A simulated disk's descriptors are negative too, but not this.
        static let noDescriptor: Int32 = -1

        var directDescriptor = noDescriptor
        var refusesDirect = false
        /// −1: not attached yet; −2: refused.
        var fixedFile: Int32 = -1
        var directFixedFile: Int32 = -1
        /// Requests admitted and not ended.
        var pending = 0
        var closing: [FileClosing] = []
        var descriptorIsOpen = true
        var refusesUncached = false
        /// A write was not aligned, so all of them go through the page cache.
        var writesThroughCache = false
    }

    init(
        path: FilePath, access: Access, caching: Caching, descriptor: Int32, status: linux_file_status, core: QueueCore
    ) {
        self.path = path
        self.access = access
        self.caching = caching
        self.descriptor = descriptor
        self.core = core
        coreID = ObjectIdentifier(core)
        sizeAtOpen = status.size
        device = status.device
        alignment = DirectAlignment(status)
    }

    deinit {
        // The ring's table may hold the descriptors, so the ring thread gives them back.
        if onRing.descriptorIsOpen || onRing.directDescriptor != OnRing.noDescriptor {
            core.executor.loop.send(FileRetirement(descriptor: descriptor, onRing: onRing))
        }
    }

    /// Whether ``close()`` has been called.
    public var isClosed: Bool { closed.load(ordering: .relaxed) }
}

/// Flags of `open(2)`, which Swift's Glibc shows with differing integer types.
enum OpenFlag {
    static let writeOnly: Int32 = 0o1
    static let readWrite: Int32 = 0o2
    static let create: Int32 = 0o100
    static let exclusive: Int32 = 0o200
    static let noControllingTerminal: Int32 = 0o400
    static let truncate: Int32 = 0o1000
    static let nonBlocking: Int32 = 0o4000
    static let closeOnExec: Int32 = 0o2000000
}

import CLiburing
import CLinux
import Glibc
import SystemPackage

/// io_uring, on a ring of its own that only its thread submits to.
///
/// Two ways to wait: with operations in flight, in the ring, which also polls the wake-up descriptor; with none, on that
/// descriptor alone, since an idle ring counts as iowait.
final class URingDriver: StorageDriver {
    private let ring: OpaquePointer
    private let wakeDescriptor: Int32
    private let fixedFileCapacity: Int32
    private var freeFixedFiles: [Int32] = []
    private var freeFixedBuffers: [Int32] = []
    /// Operations queued since the last flush.
    private var queued = 0
    private var pollIsArmed = false
    private let results: UnsafeMutableBufferPointer<penstock_cqe>
    /// Results of operations that the ring does not know and that were carried out by system call.
    private var immediate: [DriverCompletion] = []
    /// Memory that an operation in flight refers to: a `struct statx` or `open_how`.
    private var scratch: [UInt64: UnsafeMutableRawPointer] = [:]
    private var statusTargets: [UInt64: UnsafeMutableRawPointer] = [:]
    let features: [Capabilities.Feature]

    /// Tokens with the top bit set are the driver's own.
    private static let ownBit: UInt64 = 1 << 63
    private static let wakeToken = ownBit | 1
    private static let cancelToken = ownBit | 2
    private static let submissionEntries: UInt32 = 512
    private static let completionEntries: UInt32 = 8192
    static let fixedFileCount: Int32 = 1024
    private static let fixedBuffers: Int32 = 512

    var kind: DriverKind { .ioUring }
    /// Each may take two completions (its own and its cancellation's), and overflow loses nothing.
    var capacity: Int { Int(Self.completionEntries) / 2 }
    var usesKernelDescriptors: Bool { true }
    var now: UInt64 { linux_monotonic_ns() }

    /// Sets up a ring on the calling thread, which must stay its only user, and tries one real read.
    init() throws(StorageError) {
        var ring: OpaquePointer?
        let made = penstock_ring_create(&ring, Self.submissionEntries, Self.completionEntries)
        guard made == 0, let ring else { throw Self.refusal(-made, "io_uring_setup") }
        var wake: Int32 = -1
        do throws(StorageError) {
            for (opcode, name) in Self.neededOperations where !penstock_ring_supports(ring, UInt8(opcode)) {
                throw StorageError(
                    .unavailable, .setUp, errno: .notSupported,
                    message: "the kernel's io_uring has no \(name); Linux 5.13 or newer is needed")
            }
            // Nothing says whether a poll can be multishot; without, each wait would end at once.
            let needed = UInt32(PENSTOCK_FEATURE_EXT_ARG | PENSTOCK_FEATURE_RSRC_TAGS)
            guard penstock_ring_features(ring) & needed == needed else {
                throw StorageError(
                    .unavailable, .setUp, errno: .notSupported,
                    message: "the kernel's io_uring cannot wait as it must; Linux 5.13 or newer is needed")
            }
            let trial = Self.tryRead(ring)
            guard trial == 0 else { throw Self.refusal(-trial, "a trial read") }
            wake = linux_eventfd()
            guard wake >= 0 else { throw StorageError(errno: -wake, .setUp) }
        } catch {
            penstock_ring_destroy(ring)
            throw error
        }
        self.ring = ring
        wakeDescriptor = wake
        let files = penstock_ring_reserve_files(ring, UInt32(Self.fixedFileCount))
        fixedFileCapacity = files == 0 ? Self.fixedFileCount : 0
        let buffers = penstock_ring_reserve_buffers(ring, UInt32(Self.fixedBuffers))
        results = .allocate(capacity: 256)
        features = Self.features(of: ring, files: files, buffers: buffers)
        freeFixedFiles = (0..<fixedFileCapacity).reversed()
        freeFixedBuffers = (0..<(buffers == 0 ? Self.fixedBuffers : 0)).reversed()
    }

    private static let neededOperations = [(PENSTOCK_OP_READ, "READ"), (PENSTOCK_OP_WRITE, "WRITE")]

    func close() {
        penstock_ring_destroy(ring)
        _ = linux_close(wakeDescriptor)
        results.deallocate()
    }

    // MARK: Starting

    func start(_ operation: DriverOperation, token: UInt64) {
        var sqe = penstock_sqe()
        sqe.fd = operation.descriptor
        sqe.user_data = token
        sqe.offset = operation.offset
        sqe.address = UInt64(UInt(bitPattern: operation.address))
        sqe.length = operation.length
        switch operation.kind {
        case .read, .write:
            let fixed = operation.fixedBuffer >= 0
            let opcode =
                operation.kind == .read
                ? (fixed ? PENSTOCK_OP_READ_FIXED : PENSTOCK_OP_READ)
                : (fixed ? PENSTOCK_OP_WRITE_FIXED : PENSTOCK_OP_WRITE)
            sqe.opcode = UInt8(opcode)
            if fixed { sqe.buffer_index = UInt16(operation.fixedBuffer) }
            if operation.fixedFile >= 0 {
                sqe.fd = operation.fixedFile
                sqe.flags |= UInt8(PENSTOCK_SQE_FIXED_FILE)
            }
            if operation.runsLong { sqe.flags |= UInt8(PENSTOCK_SQE_ASYNC) }
            if operation.uncached { sqe.op_flags = UInt32(LINUX_RWF_DONTCACHE) }
        case .sync:
            sqe.opcode = UInt8(PENSTOCK_OP_FSYNC)
            sqe.op_flags = operation.dataOnly ? UInt32(PENSTOCK_FSYNC_DATASYNC) : 0
            sqe.offset = 0
        case .preallocate:
            sqe.opcode = UInt8(PENSTOCK_OP_FALLOCATE)
            sqe.address = operation.byteCount
            sqe.length = 0
        case .truncate:
            sqe.opcode = UInt8(PENSTOCK_OP_FTRUNCATE)
        case .open:
            sqe.opcode = UInt8(PENSTOCK_OP_OPENAT2)
            let how = UnsafeMutablePointer<linux_open_how>.allocate(capacity: 1)
            how.initialize(to: linux_open_how(flags: operation.flags, mode: UInt64(operation.mode), resolve: 0))
            scratch[token] = UnsafeMutableRawPointer(how)
            sqe.fd = AT_FDCWD
            sqe.length = UInt32(MemoryLayout<linux_open_how>.size)
            sqe.offset = UInt64(UInt(bitPattern: how))
        case .status:
            sqe.opcode = UInt8(PENSTOCK_OP_STATX)
            let statx = UnsafeMutableRawPointer.allocate(byteCount: linux_statx_size(), alignment: 8)
            scratch[token] = statx
            statusTargets[token] = operation.address
            sqe.address = UInt64(UInt(bitPattern: Self.emptyPath))
            sqe.length = linux_statx_mask()
            sqe.offset = UInt64(UInt(bitPattern: statx))
            sqe.op_flags = linux_statx_flags()
        }
        guard penstock_ring_supports(ring, sqe.opcode) else {
            // An older kernel: rare, and only ever a control operation. `FTRUNCATE` came with Linux 6.9.
            releaseScratch(token, succeeded: false)
            immediate.append(DriverCompletion(token: token, result: operation.performBlocking()))
            return
        }
        push(sqe)
    }

    func cancel(_ token: UInt64) {
        var sqe = penstock_sqe()
        sqe.opcode = UInt8(PENSTOCK_OP_ASYNC_CANCEL)
        sqe.fd = -1
        sqe.address = token
        sqe.user_data = Self.cancelToken
        push(sqe)
    }

    private func push(_ sqe: penstock_sqe) {
        var sqe = sqe
        // A full submission queue is handed over and is empty then.
        while !penstock_ring_push(ring, &sqe) { _ = penstock_ring_flush(ring) }
        queued += 1
    }

    // MARK: Completions

    func flush() {
        guard queued > 0 || penstock_ring_has_completions(ring) else { return }
        // EBUSY and EAGAIN leave the rest queued; it goes with the next flush, after the reaping that makes room.
        if penstock_ring_flush(ring) >= 0 { queued = 0 }
    }

    var hasCompletions: Bool { !immediate.isEmpty || penstock_ring_has_completions(ring) }

    func reap(into completions: UnsafeMutableBufferPointer<DriverCompletion>) -> Int {
        var count = 0
        while !immediate.isEmpty, count < completions.count {
            completions[count] = immediate.removeLast()
            count += 1
        }
        let room = UInt32(min(results.count, completions.count - count))
        let reaped = Int(penstock_ring_reap(ring, results.baseAddress, room))
        for index in 0..<reaped {
            let result = results[index]
            guard result.user_data & Self.ownBit == 0 else {
                if result.user_data == Self.wakeToken, result.flags & UInt32(PENSTOCK_CQE_MORE) == 0 {
                    pollIsArmed = false
                }
                continue
            }
            if !scratch.isEmpty { releaseScratch(result.user_data, succeeded: result.result >= 0) }
            completions[count] = DriverCompletion(token: result.user_data, result: result.result)
            count += 1
        }
        return count
    }

    private func releaseScratch(_ token: UInt64, succeeded: Bool) {
        guard let memory = scratch.removeValue(forKey: token) else { return }
        if let target = statusTargets.removeValue(forKey: token), succeeded {
            linux_statx_read(memory, target.assumingMemoryBound(to: linux_file_status.self))
        }
        memory.deallocate()
    }

    // MARK: Waiting

    func park(timeout: UInt64, inFlight: Int) {
        guard immediate.isEmpty else { return }
        if inFlight == 0, queued == 0 {
            _ = linux_eventfd_wait(wakeDescriptor, timeout)
            return
        }
        if !pollIsArmed {
            var sqe = penstock_sqe()
            sqe.opcode = UInt8(PENSTOCK_OP_POLL_ADD)
            sqe.fd = wakeDescriptor
            sqe.length = UInt32(PENSTOCK_POLL_MULTISHOT)
            sqe.op_flags = UInt32(POLLIN)
            sqe.user_data = Self.wakeToken
            push(sqe)
            pollIsArmed = true
        }
        if penstock_ring_wait(ring, timeout) >= 0 { queued = 0 }
    }

    func wake() { _ = linux_eventfd_signal(wakeDescriptor) }

    // MARK: Fixed files and buffers

    func attach(_ descriptor: Int32) -> Int32 {
        guard let index = freeFixedFiles.popLast() else { return -1 }
        guard penstock_ring_set_file(ring, UInt32(index), descriptor) == 0 else {
            freeFixedFiles.append(index)
            return -1
        }
        return index
    }

    func detach(_ fixedFile: Int32) {
        _ = penstock_ring_set_file(ring, UInt32(fixedFile), -1)
        freeFixedFiles.append(fixedFile)
    }

    func register(_ slab: UnsafeMutableRawPointer, count: Int) -> Int32 {
        guard let index = freeFixedBuffers.popLast() else { return -1 }
        guard penstock_ring_set_buffer(ring, UInt32(index), slab, UInt64(count)) == 0 else {
            freeFixedBuffers.append(index)
            return -1
        }
        return index
    }

    func unregister(_ fixedBuffer: Int32) {
        if penstock_ring_set_buffer(ring, UInt32(fixedBuffer), nil, 0) == 0 { freeFixedBuffers.append(fixedBuffer) }
    }

    // Written once, before anyone can see it.
    private nonisolated(unsafe) static let emptyPath: UnsafePointer<CChar> = {
        let empty = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
        empty.initialize(to: 0)
        return UnsafePointer(empty)
    }()
}

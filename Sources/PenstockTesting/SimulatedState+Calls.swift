import CLinux
import Glibc
import Penstock
import SystemPackage

/// The system calls, played on files in memory. Each returns what the kernel would.
extension SimulatedState.Contents {
    mutating func carryOut(_ operation: DriverOperation, mostBytes: Int, _ state: SimulatedState) -> Int32 {
        if operation.kind == .open { return open(operation, limit: state.openFileLimit) }
        guard let target = open[operation.descriptor] else { return -EBADF }
        switch operation.kind {
        case .read: return read(target, operation, mostBytes)
        case .write: return write(target, operation, mostBytes, capacity: state.capacity)
        case .status:
            operation.address!.assumingMemoryBound(to: linux_file_status.self).pointee = linux_file_status(
                // A device each: one file's refusal of direct I/O says nothing about another's.
                size: UInt64(target.file.bytes.count), device: UInt64(-Int64(operation.descriptor)),
                mode: S_IFREG | 0o644,
                direct_memory_alignment: UInt32(SimulatedDriver.alignment),
                direct_offset_alignment: UInt32(SimulatedDriver.alignment))
            return 0
        case .sync:
            counts.syncs += 1
            return 0
        case .preallocate:
            let end = Int(operation.offset + operation.byteCount)
            guard used - target.file.bytes.count + end <= state.capacity else { return -ENOSPC }
            if end > target.file.bytes.count { target.file.resize(to: end) }
            return 0
        case .truncate:
            target.file.resize(to: Int(operation.offset))
            return 0
        case .open: return -EINVAL
        }
    }

    private mutating func open(_ operation: DriverOperation, limit: Int) -> Int32 {
        let path = FilePath(platformString: operation.address!.assumingMemoryBound(to: CChar.self))
        let flags = Int32(operation.flags)
        guard open.count < limit else { return -EMFILE }
        if let file = files[path] {
            if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL { return -EEXIST }
            if flags & O_TRUNC != 0 { file.bytes = [] }
            return place(SimulatedState.OpenFile(file: file, path: path, isDirect: false))
        }
        guard flags & O_CREAT != 0 else { return -ENOENT }
        let file = SimulatedFile(bytes: [])
        files[path] = file
        return place(SimulatedState.OpenFile(file: file, path: path, isDirect: false))
    }

    mutating func place(_ file: SimulatedState.OpenFile) -> Int32 {
        let descriptor = nextDescriptor
        nextDescriptor -= 1
        open[descriptor] = file
        return descriptor
    }

    private func read(_ target: SimulatedState.OpenFile, _ operation: DriverOperation, _ mostBytes: Int) -> Int32 {
        if let errno = misalignment(target, operation) { return -errno }
        let size = UInt64(target.file.bytes.count)
        guard operation.offset < size else { return 0 }
        var count = min(UInt64(mostBytes), size - operation.offset)
        if let errno = limit(&count, target, operation) { return -errno }
        target.file.bytes.withUnsafeBytes { bytes in
            operation.address!.copyMemory(from: bytes.baseAddress! + Int(operation.offset), byteCount: Int(count))
        }
        return Int32(count)
    }

    private func write(
        _ target: SimulatedState.OpenFile, _ operation: DriverOperation, _ mostBytes: Int, capacity: Int
    ) -> Int32 {
        if let errno = misalignment(target, operation) { return -errno }
        var count = UInt64(mostBytes)
        if let errno = limit(&count, target, operation) { return -errno }
        // Bytes over existing ones need no room.
        let room = UInt64(max(0, capacity - used)) + UInt64(target.file.bytes.count)
        guard operation.offset < room else { return -ENOSPC }
        count = min(count, room - operation.offset)
        let end = Int(operation.offset + count)
        if end > target.file.bytes.count { target.file.resize(to: end) }
        target.file.bytes.withUnsafeMutableBytes { bytes in
            (bytes.baseAddress! + Int(operation.offset)).copyMemory(from: operation.address!, byteCount: Int(count))
        }
        return Int32(count)
    }

    private func misalignment(_ target: SimulatedState.OpenFile, _ operation: DriverOperation) -> Int32? {
        guard target.isDirect else { return nil }
        let alignment = SimulatedDriver.alignment
        let isAligned =
            operation.offset % alignment == 0 && UInt64(operation.length) % alignment == 0
            && UInt64(UInt(bitPattern: operation.address)) % alignment == 0
        return isAligned ? nil : EINVAL
    }

    /// Stops the transfer in front of a bad range, or fails it if it starts in one.
    private func limit(
        _ count: inout UInt64, _ target: SimulatedState.OpenFile, _ operation: DriverOperation
    ) -> Int32? {
        for (range, errno) in badRanges[target.path] ?? [] {
            guard operation.offset < range.upperBound, operation.offset + count > range.lowerBound else { continue }
            if operation.offset >= range.lowerBound { return errno }
            count = range.lowerBound - operation.offset
            // A device fails in whole blocks.
            if target.isDirect { count = count / SimulatedDriver.alignment * SimulatedDriver.alignment }
            if count == 0 { return errno }
        }
        return nil
    }
}

extension SimulatedFile {
    func resize(to count: Int) {
        if count < bytes.count {
            bytes.removeLast(bytes.count - count)
        } else {
            bytes.append(contentsOf: repeatElement(0, count: count - bytes.count))
        }
    }
}

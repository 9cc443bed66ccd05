import Glibc

extension BenchFile {
    /// Left free for everyone else: a disk filled to the brim is slow, and unfriendly.
    private static let reserve: UInt64 = 256 << 20
    private static let chunk = 4 << 20

    /// Writes the file under another name and renames it when it is complete and on the disk, so that what carries the
    /// name is never half a file; `in` names the directory it is in.
    func write(in directory: String) throws {
        let draft = "\(path).\(getpid())"
        try checkFreeSpace(in: directory)
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw BenchError("cannot create \(draft)", errno: errno) }
        do {
            defer { close(descriptor) }
            // Finds out now whether the space is there, and gets it in as few pieces as the file system can.
            let refusal = posix_fallocate(descriptor, 0, off_t(size))
            if refusal != 0 { throw BenchError("cannot reserve \(Units.bytes(size)) for \(draft)", errno: refusal) }
            try writeContent(to: descriptor)
            guard fdatasync(descriptor) == 0 else { throw BenchError("cannot write \(draft)", errno: errno) }
            guard rename(draft, path) == 0 else { throw BenchError("cannot rename \(draft)", errno: errno) }
        } catch {
            unlink(draft)
            throw error
        }
    }

    private func checkFreeSpace(in directory: String) throws(BenchError) {
        var filesystem = statvfs()
        guard statvfs(directory, &filesystem) == 0 else {
            throw BenchError("cannot examine \(directory)", errno: errno)
        }
        let free = UInt64(filesystem.f_bavail) * UInt64(filesystem.f_frsize)
        guard free >= size + Self.reserve else {
            throw BenchError(
                "the benchmark file needs \(Units.bytes(size)) and \(Units.bytes(Self.reserve)) to spare in "
                    + "\(directory), which has \(Units.bytes(free)) free: free some, or choose another directory")
        }
    }

    private func writeContent(to descriptor: CInt) throws {
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunk, alignment: 4096)
        let bar = ProgressBar("writing the benchmark file", total: size)
        defer {
            bar.finish()
            chunk.deallocate()
        }
        var offset: UInt64 = 0
        while offset < size {
            try Interrupt.check()
            let length = Int(min(UInt64(chunk.count), size - offset))
            BenchContent.fill(UnsafeMutableRawBufferPointer(rebasing: chunk[..<length]), at: offset)
            try write(UnsafeRawBufferPointer(rebasing: chunk[..<length]), at: offset, to: descriptor)
            offset += UInt64(length)
            bar.advance(by: UInt64(length))
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, to descriptor: CInt) throws(BenchError) {
        var written = 0
        while written < bytes.count {
            let count = pwrite(
                descriptor, bytes.baseAddress! + written, bytes.count - written, off_t(offset) + off_t(written))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw BenchError("cannot write the benchmark file", errno: errno) }
            written += count
        }
    }
}

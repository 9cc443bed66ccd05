import Glibc

extension BenchFile {
    /// Reads the file through once, so that all of it is in the page cache if there is room. Returns the fraction of
    /// it that then is: much below 1, "warm" figures would be the disk's.
    @discardableResult
    func warm() throws -> Double {
        let descriptor = try BenchDescriptor(path: path, direct: false)
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        let bar = ProgressBar("reading it into the page cache", total: size)
        defer {
            bar.finish()
            block.deallocate()
        }
        var offset: UInt64 = 0
        while offset < size {
            try Interrupt.check()
            let count = pread(descriptor.number, block.baseAddress, block.count, off_t(offset))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw BenchError("cannot read \(path)", errno: count < 0 ? errno : EIO) }
            offset += UInt64(count)
            bar.advance(by: UInt64(count))
        }
        return try residentFraction(of: descriptor)
    }

    /// Asks mincore(2) which pages are in memory.
    private func residentFraction(of descriptor: BenchDescriptor) throws(BenchError) -> Double {
        let length = Int(size)
        let mapping = mmap(nil, length, PROT_READ, MAP_SHARED, descriptor.number, 0)
        guard let mapping, mapping != MAP_FAILED else { throw BenchError("cannot map \(path)", errno: errno) }
        defer { munmap(mapping, length) }
        var pages = [UInt8](repeating: 0, count: (length + 4095) / 4096)
        guard mincore(mapping, length, &pages) == 0 else { throw BenchError("cannot examine \(path)", errno: errno) }
        let resident = pages.reduce(0) { $0 + Int($1 & 1) }
        return Double(resident) / Double(pages.count)
    }
}

import Glibc

/// The process's largest resident size.
enum PeakMemory {
    /// Sets the peak back to the present size, in bytes, and returns that.
    @discardableResult
    static func reset() -> UInt64 {
        // Writing 5 to clear_refs does so (proc(5)).
        let descriptor = open("/proc/self/clear_refs", O_WRONLY)
        guard descriptor >= 0 else { return 0 }
        _ = write(descriptor, "5", 1)
        close(descriptor)
        return bytes()
    }

    /// The largest since the last ``reset()``, in bytes.
    static func bytes() -> UInt64 {
        guard let status = fopen("/proc/self/status", "r") else { return 0 }
        defer { fclose(status) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), status) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("VmHWM:") { return (UInt64(text.filter(\.isNumber)) ?? 0) << 10 }
        }
        return 0
    }
}

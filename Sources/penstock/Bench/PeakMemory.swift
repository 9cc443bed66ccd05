import Glibc

/// The process's largest resident size.
enum PeakMemory {
    /// Writing 5 to clear_refs sets the peak back to the present size (proc(5)).
    static func reset() {
        let descriptor = open("/proc/self/clear_refs", O_WRONLY)
        guard descriptor >= 0 else { return }
        _ = write(descriptor, "5", 1)
        close(descriptor)
    }

    /// The largest since then, in bytes.
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

import Glibc

/// Limits and settings of the machine and of this process.
enum MachineFindings {
    static func all() -> [Finding] { [kernel(), hugePages(), lockedMemory(), openFiles(), processors()] }

    private static func kernel() -> Finding {
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: &name.release) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        // For information only: what works is found out by trying it, above.
        return Finding("kernel", isGood: true, rung: "Linux \(release)")
    }

    private static func hugePages() -> Finding {
        let setting = SmallFile.text("/sys/kernel/mm/transparent_hugepage/enabled")
        guard let setting else {
            return Finding(
                "huge pages", isGood: false, rung: "small pages", reason: "the kernel has no transparent huge pages",
                advice: "direct reads of large blocks cost up to nine times the CPU time; nothing else is affected")
        }
        guard !setting.contains("[never]") else {
            return Finding(
                "huge pages", isGood: false, rung: "small pages", reason: "transparent huge pages are switched off",
                advice: "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled")
        }
        return Finding("huge pages", isGood: true, rung: setting.contains("[always]") ? "always" : "on request")
    }

    private static func lockedMemory() -> Finding {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(8), &limit)  // RLIMIT_MEMLOCK, which Swift's Glibc does not show
        let isUnlimited = limit.rlim_cur == .max || geteuid() == 0
        let text = isUnlimited ? "unlimited" : Units.bytes(UInt64(limit.rlim_cur))
        // Each registered slab is 2 MiB; some must fit.
        guard isUnlimited || limit.rlim_cur >= 64 << 20 else {
            return Finding(
                "locked memory", isGood: false, rung: text,
                reason: "only \(limit.rlim_cur >> 21) slabs of 2 MiB can be registered with the ring",
                advice: "raise `ulimit -l` (memlock in /etc/security/limits.conf); worth 10–30 % of the CPU time of "
                    + "direct reads")
        }
        return Finding("locked memory", isGood: true, rung: text)
    }

    private static func openFiles() -> Finding {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE
        let isGood = limit.rlim_cur >= 4096
        return Finding(
            "open files", isGood: isGood, rung: "\(limit.rlim_cur)",
            reason: isGood ? nil : "streaming many files at once may meet EMFILE",
            advice: isGood ? nil : "raise `ulimit -n`, up to \(limit.rlim_max) without privileges")
    }

    private static func processors() -> Finding {
        let count = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        return Finding(
            "processors", isGood: count > 1, rung: "\(count)",
            reason: count > 1 ? nil : "the queue's thread and its callers share one",
            advice: count > 1 ? nil : "prefer the queue's executor for tasks that read a lot")
    }
}

/// Files of /proc and /sys: one short line.
enum SmallFile {
    static func text(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var line = [UInt8](repeating: 0, count: 512)
        let count = fread(&line, 1, line.count, file)
        return String(decoding: line.prefix(count).prefix { $0 != 10 }, as: UTF8.self)
    }
}

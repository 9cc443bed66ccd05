import Glibc

/// The clocks that the tool measures with, in nanoseconds.
enum Clock {
    /// Time since boot; never set back.
    static func wall() -> UInt64 { read(CLOCK_MONOTONIC) }

    /// The same to within a few milliseconds and much cheaper: for deciding whether it is time to draw.
    static func coarse() -> UInt64 { read(CLOCK_MONOTONIC_COARSE) }

    /// CPU time of all the process's threads, those that ended and io_uring's kernel workers included.
    static func processCPU() -> UInt64 { read(CLOCK_PROCESS_CPUTIME_ID) }

    private static func read(_ clock: CInt) -> UInt64 {
        var now = timespec()
        clock_gettime(clock, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}

import Glibc
import Synchronization

/// A progress bar on standard error, drawn only on a terminal and only for work that takes longer than a second.
///
/// `advance` may be called from any number of tasks and threads: an atomic addition and a coarse clock (read without
/// a system call); where there is no terminal, nothing at all.
///
///     let bar = ProgressBar("writing", total: size)
///     defer { bar.finish() }
///     while … { bar.advance(by: UInt64(written)) }
final class ProgressBar: Sendable {
    /// What is counted, which decides how amounts are written.
    enum Unit: Sendable {
        case bytes, items
    }

    private let label: String
    private let total: UInt64
    private let unit: Unit
    private let isShown: Bool
    private let start: UInt64
    private let done = Atomic<UInt64>(0)
    private let nextDraw: Atomic<UInt64>
    private let wasDrawn = Mutex(false)

    /// Nothing appears before this many nanoseconds: a bar that flashes by is noise.
    private static let patience: UInt64 = 1_000_000_000
    /// Nanoseconds between two drawings: fast enough to look alive.
    private static let interval: UInt64 = 100_000_000

    /// A bar for `total` units of work, starting now.
    init(_ label: String, total: UInt64, unit: Unit = .bytes) {
        self.label = label
        self.total = total
        self.unit = unit
        isShown = isatty(STDERR_FILENO) == 1
        start = Clock.coarse()
        nextDraw = Atomic(start + Self.patience)
    }

    /// Reports `count` more units as done.
    func advance(by count: UInt64 = 1) {
        guard isShown else { return }
        let done = done.wrappingAdd(count, ordering: .relaxed).newValue
        let now = Clock.coarse()
        let due = nextDraw.load(ordering: .relaxed)
        guard now >= due else { return }
        // Of all the tasks that find the drawing due, the one whose exchange succeeds draws.
        let (won, _) = nextDraw.compareExchange(expected: due, desired: now + Self.interval, ordering: .relaxed)
        if won { draw(done, at: now) }
    }

    /// Takes the bar off the screen. Call it before printing anything else.
    func finish() {
        wasDrawn.withLock { wasDrawn in
            nextDraw.store(.max, ordering: .relaxed)
            if wasDrawn { writeToStandardError("\r\u{1B}[K") }
            wasDrawn = false
        }
    }

    private func draw(_ done: UInt64, at now: UInt64) {
        let line = Self.line(label, done: done, of: total, unit, nanoseconds: now - start, columns: terminalColumns())
        wasDrawn.withLock { wasDrawn in
            // `finish` may have come in between; a bar drawn after it would stay.
            guard nextDraw.load(ordering: .relaxed) != .max else { return }
            wasDrawn = true
            writeToStandardError("\r\(line)\u{1B}[K")
        }
    }

    /// The bar as text, at most `columns` wide: `writing  [######----]  61 %  625 MiB  1.20 GiB/s  2 s left`.
    static func line(
        _ label: String, done: UInt64, of total: UInt64, _ unit: Unit, nanoseconds: UInt64, columns: Int
    ) -> String {
        let fraction = total == 0 ? 1 : min(Double(done) / Double(total), 1)
        let perSecond = Double(done) / max(Double(nanoseconds) / 1e9, 1e-9)
        let left = done >= total ? 0 : Double(total - done) / perSecond

        var facts = "\(Int(fraction * 100)) %"
        switch unit {
        case .bytes: facts += "  \(Units.bytes(done))  \(Units.rate(bytesPerSecond: perSecond))"
        case .items: facts += "  \(Units.count(done))  \(Units.rate(perSecond: perSecond))"
        }
        facts += "  \(Units.remaining(seconds: left)) left"

        // The last column stays free: writing there makes some terminals wrap.
        let cells = min(40, columns - 1 - label.count - facts.count - 6)
        guard cells >= 5 else { return String("\(label)  \(facts)".prefix(max(columns - 1, 0))) }
        let filled = Int(fraction * Double(cells))
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: cells - filled)
        return "\(label)  [\(bar)]  \(facts)"
    }

    private func terminalColumns() -> Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }
}

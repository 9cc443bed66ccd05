import Glibc
import Penstock

extension Report {
    /// Prints the result to standard output, and what went wrong to standard error.
    func print() {
        complain()
        Swift.print("\(roots.joined(separator: " "))\(wasStopped ? ", as far as Ctrl-C let it come" : "")\n")
        Swift.print(
            "  streamed    \(Units.grouped(files)) files, \(Units.bytes(bytes)) in \(Units.time(duration)): \(speed)")
        Swift.print("  verified    \(verification)")
        Swift.print("  unreadable  \(Units.grouped(unreadable.count)) files")
        Swift.print("  driver      \(driver)")
        for (label, text) in destination {
            Swift.print("  \(label)\(String(repeating: " ", count: 12 - label.count))\(text)")
        }
        guard let statistics else { return }
        let (memory, flight) = (statistics.peakMemoryInUse, statistics.peakBytesInFlight)
        let staged = statistics.peakStagingInUse
        Swift.print(
            "  at peak     \(Units.bytes(memory)) in buffers, \(Units.bytes(flight)) in flight"
                + (staged > 0 ? ", \(Units.bytes(staged)) staged\n" : "\n"))
        Swift.print(table(of: statistics).text)
    }

    /// Prints what went wrong to standard error.
    func complain() {
        complain("unreadable", unreadable)
        complain("changed", changed)
        complain("WRONG", wrong)
    }

    private var speed: String {
        let files = Units.grouped(Int(Double(files) / max(duration / .seconds(1), 1e-9)))
        return "\(Units.rate(bytes, duration)), \(files) files/s"
    }

    private var verification: String {
        guard verifies else { return "no" }
        let readBack = readsBack ? ", read back from the GPU," : ""
        return "\(Units.grouped(verified)) files\(readBack) against a second, plain read; "
            + "\(wrong.count) wrong, \(changed.count) changing"
    }

    /// The ways that the bytes took. A request's latency is that of one call: of a whole small file, or of one chunk.
    private func table(of statistics: Statistics) -> Table {
        var table = Table()
        table.add("path", "requests", "bytes", "p50", "p90", "p99", "max")
        for path in Statistics.Path.allCases {
            let flow = statistics.flow(path)
            guard flow.requests > 0 else { continue }
            table.add(
                name(of: path, statistics.driver), Units.grouped(Int(flow.requests)), Units.bytes(Int(flow.bytes)),
                Units.time(flow.latency.p50), Units.time(flow.latency.percentile(0.9)), Units.time(flow.latency.p99),
                Units.time(flow.latency.max))
        }
        return table
    }

    private func name(of path: Statistics.Path, _ driver: DriverKind) -> String {
        switch path {
        case .inline: "inline (page cache)"
        case .buffered: "\(driver.rawValue), buffered"
        case .direct: "\(driver.rawValue), direct"
        case .staged: "staged, to or from the GPU"
        }
    }

    private func complain(_ kind: String, _ problems: Problems) {
        var text = problems.first.map { "\(kind): \($0)\n" }.joined()
        let more = problems.count - problems.first.count
        if more > 0 { text += "\(kind): … and \(Units.grouped(more)) more\n" }
        text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

import Penstock
import PenstockArchive

/// Loose files against the same files packed, streamed to the same place.
struct Comparison: Sendable {
    /// Where the bytes come from.
    enum Source: String, CaseIterable, Sendable {
        case disk = "from the disk"
        case cache = "from the page cache"
    }

    let packed: PackedFolder
    private var passes: [(source: Source, loose: Report, packed: Report)] = []
    /// The packed ones once more, each compared with a plain read of its file.
    var verification: Report?
    var destination: [(label: String, text: String)] = []
    var driver = ""
    var wasStopped = false

    init(packed: PackedFolder) { self.packed = packed }

    mutating func add(_ source: Source, loose: Report, packed: Report) { passes.append((source, loose, packed)) }

    var isGood: Bool {
        !wasStopped && passes.allSatisfy { $0.packed.isGood && $0.loose.wrong.count == 0 }
            && (verification?.isGood ?? true)
    }

    func print() {
        for pass in passes { [pass.loose, pass.packed].forEach { $0.complain() } }
        verification?.complain()
        Swift.print("\(packed.folder)\(wasStopped ? ", as far as Ctrl-C let it come" : "")\n")
        let ratio = Units.fixed(Double(packed.contentSize) / Double(max(1, packed.fileSize)), decimals: 2)
        let how = packed.packing.map { "GDeflate level 6, in \(Units.time($0))" } ?? "found in the cache"
        let files = Units.grouped(packed.archive.entries.count)
        Swift.print("  packed      \(files) files, \(ratio) : 1, \(how)")
        Swift.print("  archive     \(packed.path)")
        if let verification {
            let readBack = verification.readsBack ? ", read back from the GPU," : ""
            Swift.print(
                "  verified    \(Units.grouped(verification.verified)) files\(readBack) against plain reads; "
                    + "\(verification.wrong.count) wrong, \(verification.changed.count) changed since")
        }
        Swift.print("  driver      \(driver)")
        for (label, text) in destination {
            Swift.print("  \(label)\(String(repeating: " ", count: 12 - label.count))\(text)")
        }
        var table = Table()
        table.add("", "files", "bytes read", "time", "bytes/s, unpacked", "files/s", "times as fast")
        for (source, loose, stream) in passes {
            add("loose, \(source.rawValue)", loose, loose.bytes, 1, to: &table)
            let times = loose.duration / max(stream.duration, .nanoseconds(1))
            add("packed, \(source.rawValue)", stream, packed.fileSize, times, to: &table)
        }
        Swift.print("\n" + table.text)
    }

    private func add(_ name: String, _ report: Report, _ read: Int, _ times: Double, to table: inout Table) {
        let perSecond = Int(Double(report.files) / max(report.duration / .seconds(1), 1e-9))
        table.add(
            name, Units.grouped(report.files), Units.bytes(read), Units.time(report.duration),
            Units.rate(report.bytes, report.duration), Units.grouped(perSecond), Units.fixed(times, decimals: 2))
    }
}

import PenstockArchive

/// How well files of each type were packed.
struct FileTypeTotals {
    private struct Total {
        var files: UInt64 = 0
        var bytes: UInt64 = 0
        var stored: UInt64 = 0
    }

    private var totals: [String: Total] = [:]

    /// So many types are named; the rest are added up.
    private static let mostTypes = 16

    init(_ archive: StorageArchive) {
        for entry in archive.entries {
            var total = totals[Self.type(of: entry.path), default: Total()]
            total.files += 1
            total.bytes = total.bytes.addingSaturated(entry.size)
            total.stored = total.stored.addingSaturated(entry.storedSize)
            totals[Self.type(of: entry.path)] = total
        }
    }

    /// The last extension, without which a file is of no type.
    private static func type(of path: String) -> String {
        let name = path.split(separator: "/").last ?? ""
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "(none)" }
        let type = name[dot...].lowercased()
        return type.utf8.count > 16 ? "(other)" : String(describing: PrintablePath(type))
    }

    /// The largest types first, and all of them in the last line.
    var table: Table {
        var table = Table(
            indent: 2, [.left("type"), .right("files"), .right("bytes"), .right("packed"), .right("ratio")])
        let sorted = totals.sorted { ($1.value.bytes, $0.key) < ($0.value.bytes, $1.key) }
        var (rest, all) = (Total(), Total())
        for (index, (type, total)) in sorted.enumerated() {
            if index < Self.mostTypes { table.append(Self.row(type, total)) } else { Self.add(total, to: &rest) }
            Self.add(total, to: &all)
        }
        if rest.files > 0 { table.append(Self.row("(others)", rest)) }
        if sorted.count > 1 { table.append(Self.row("all", all)) }
        return table
    }

    private static func add(_ total: Total, to sum: inout Total) {
        sum.files += total.files
        sum.bytes = sum.bytes.addingSaturated(total.bytes)
        sum.stored = sum.stored.addingSaturated(total.stored)
    }

    private static func row(_ name: String, _ total: Total) -> [String] {
        let ratio = total.stored == 0 ? "" : Units.fixed(Double(total.bytes) / Double(total.stored), decimals: 2)
        return [name, Units.count(total.files), Units.bytes(total.bytes), Units.bytes(total.stored), ratio]
    }
}

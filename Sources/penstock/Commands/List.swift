import ArgumentParser
import Penstock
import PenstockArchive
import PenstockCompression

/// Lists what an archive holds.
struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the files in an archive.",
        discussion:
            "Patches given behind the archive are laid on it. A patch alone shows what it holds, and what it deletes.")

    @OptionGroup var archive: ArchiveArguments

    @Flag(help: "Print one JSON object a line instead of a table.")
    var json = false

    /// Lines are collected, so that one write has many.
    private static let bufferSize = 64 << 10

    func run() async throws {
        Interrupt.install()
        try await withStorageQueue { queue in
            let archive = try await StorageArchive.open(self.archive.paths, on: queue)
            if json { printJSON(archive) } else { printText(archive) }
        }
    }

    private func printJSON(_ archive: StorageArchive) {
        var text = ""
        for entry in archive.entries {
            let line: JSONLine = [
                "path": .string(entry.path), "size": .integer(Int64(clamping: entry.size)),
                "stored": .integer(Int64(clamping: entry.storedSize)),
                "codec": entry.codec.map { .string($0.description) } ?? .null,
                "chunks": .integer(Int64(entry.chunkCount)), "chunk_size": .integer(Int64(entry.chunkSize)),
            ]
            Self.add(line.text + "\n", to: &text)
        }
        for path in deletions(archive) {
            let line: JSONLine = ["path": .string(path), "deleted": true]
            Self.add(line.text + "\n", to: &text)
        }
        writeToStandardOutput(text)
    }

    private func printText(_ archive: StorageArchive) {
        var text = ""
        func row(_ size: String, _ stored: String, _ codec: String, _ path: String) {
            let left = String(repeating: " ", count: max(0, 15 - size.count)) + size
            let middle = String(repeating: " ", count: max(0, 15 - stored.count)) + stored
            Self.add("\(left)  \(middle)  \(codec)  \(PrintablePath(path))\n", to: &text)
        }
        var (size, stored): (UInt64, UInt64) = (0, 0)
        row("bytes", "stored", "how ", "path")
        for entry in archive.entries {
            let storedSize = entry.storedSize
            row(
                Units.count(entry.size), Units.count(storedSize),
                entry.codec.map { "\(PrintablePath("\($0)"))" } ?? "none",
                entry.path)
            size = size.addingSaturated(entry.size)
            stored = stored.addingSaturated(storedSize)
        }
        for path in deletions(archive) { row("", "", "gone", path) }
        let count = Units.count(UInt64(archive.entries.count))
        writeToStandardOutput(text + "\n\(count) files, \(Units.bytes(size)) in \(Units.bytes(stored))\n")
    }

    /// Of a patch that is looked at by itself; laid on its base, nothing is to be seen of them.
    private func deletions(_ archive: StorageArchive) -> [String] {
        archive.files.count == 1 ? archive.files[0].deletions : []
    }

    private static func add(_ line: String, to text: inout String) {
        text += line
        guard text.utf8.count >= bufferSize else { return }
        writeToStandardOutput(text)
        text = ""
    }
}

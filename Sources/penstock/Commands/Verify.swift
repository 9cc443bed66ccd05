import ArgumentParser
import Penstock
import PenstockArchive
import SystemPackage

/// Reads an archive and says what is damaged.
struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read all of an archive and name what is damaged.",
        discussion: """
            Each chunk is held against its checksum and decoded. The exit status is 0 if all is well, and 1 otherwise; each \
            damage is a line with the file, the entry and the offset.
            """)

    @OptionGroup var archive: ArchiveArguments

    @Flag(help: "Look at checksums alone; decode nothing.")
    var quick = false

    @Flag(help: "Print one JSON object for each damage instead of text.")
    var json = false

    func run() async throws {
        Interrupt.install()
        let start = Clock.wall()
        let damages = try await withStorageQueue { queue in
            let archive = try await StorageArchive.open(self.archive.paths, on: queue)
            let bytes = archive.files.sum(\.size)
            let bar = ArchiveBar("verifying", total: bytes)
            defer { bar.finish() }
            let damages = try await archive.verify(decoding: !quick, progress: { bar.report($0) }) { damage in
                writeToStandardOutput((json ? damage.json.text : damage.description) + "\n")
            }
            bar.finish()
            if damages == 0, !json {
                let entries = archive.files.reduce(0) { $0 + $1.entryCount }
                let seconds = Double(Clock.wall() - start) / 1e9
                writeToStandardOutput(
                    "\(Units.count(UInt64(entries))) entries, \(Units.bytes(bytes)): as they were written, "
                        + "\(Units.fixed(seconds, decimals: 2)) s, \(Units.rate(bytesPerSecond: Double(bytes) / seconds))\n"
                )
            }
            return damages
        }
        guard damages == 0 else {
            writeToStandardError("\(Units.count(UInt64(damages))) damaged places\n")
            throw ExitCode.failure
        }
    }
}

extension ArchiveDamage {
    fileprivate var json: JSONLine {
        [
            "file": .string(file.string), "entry": entry.map { .string($0) } ?? .null,
            "offset": .integer(Int64(clamping: offset)), "count": .integer(Int64(count)),
            "kind": .string(kind.rawValue), "message": .string(message),
        ]
    }
}

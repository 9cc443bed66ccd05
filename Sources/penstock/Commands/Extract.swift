import ArgumentParser
import Penstock
import PenstockArchive
import SystemPackage

/// Writes an archive's files into a folder.
struct Extract: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Extract the files of an archive into a folder.",
        discussion: """
            Nothing is written outside of the folder, and no link in it is followed. Files that are there already are an error \
            unless --replace is given.
            """)

    @OptionGroup var archive: ArchiveArguments

    @Option(
        name: [.customShort("C"), .customLong("directory")],
        help: ArgumentHelp("The folder, which is made if need be.", valueName: "folder"), completion: .directory)
    var directory: String

    @Option(help: ArgumentHelp("Extract only entries whose path begins so; may be given again.", valueName: "path"))
    var only: [String] = []

    @Flag(help: "Replace files that are there already.")
    var replace = false

    func run() async throws {
        Interrupt.install()
        let start = Clock.wall()
        try await withStorageQueue { queue in
            let archive = try await StorageArchive.open(self.archive.paths, on: queue)
            var entries = Array(archive.entries)
            if !only.isEmpty {
                entries = entries.filter { entry in only.contains { entry.path.utf8.starts(with: $0.utf8) } }
            }
            let bytes = entries.sum(\.size)
            let bar = ArchiveBar("extracting", total: bytes)
            do {
                defer { bar.finish() }
                try await archive.extract(entries, to: FilePath(directory), replacing: replace) { bar.report($0) }
            }
            let seconds = Double(Clock.wall() - start) / 1e9
            writeToStandardOutput(
                "\(Units.count(UInt64(entries.count))) files, \(Units.bytes(bytes)) in "
                    + "\(Units.fixed(seconds, decimals: 2)) s, \(Units.rate(bytesPerSecond: Double(bytes) / seconds))\n"
            )
        }
    }
}

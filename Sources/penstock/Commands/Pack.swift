import ArgumentParser
import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage

/// Makes an archive of a folder.
struct Pack: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Pack a folder into an archive.",
        discussion: """
            The same folder and options give the same bytes; of zstd, lz4 and deflate, with the same version of their library. \
            An archive is there when it is complete, or not at all. Links are not followed; they, devices, FIFOs and sockets are \
            left out, and counted.
            """)

    @Argument(help: ArgumentHelp("The folder to pack.", valueName: "folder"), completion: .directory)
    var folder: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("The archive to make, or to replace.", valueName: "file"),
        completion: .file(extensions: ["penstock"]))
    var output: String

    @Option(help: "How to compress: gdeflate (which GPUs decode), zstd, lz4, deflate or none.")
    var codec = CodecChoice.gdeflate

    @Option(help: ArgumentHelp("How hard to try: higher is smaller and slower.", valueName: "level"))
    var level: Int?

    @Option(
        help: ArgumentHelp(
            "Make a patch that lies on this archive: only what differs. Give it again for each patch below this one.",
            valueName: "archive"),
        completion: .file(extensions: ["penstock"]))
    var base: [String] = []

    mutating func validate() throws { _ = try codec.codec(level: level) }

    func run() async throws {
        Interrupt.install()
        let output = FilePath(output)
        let contents = try ArchiveFolder(FilePath(folder), excluding: [output] + base.map { FilePath($0) })
        for kind in ArchiveFolder.Skip.allCases {
            guard let count = contents.skipped[kind] else { continue }
            writeToStandardError("left out: \(count) \(kind.rawValue)\n")
        }
        let start = Clock.wall()
        try await withStorageQueue { queue in
            let writer = ArchiveWriter(on: queue, codec: try codec.codec(level: level))
            var below: StorageArchive?
            if !base.isEmpty { below = try await StorageArchive.open(base.map { FilePath($0) }, on: queue) }
            let bar = ArchiveBar("packing", total: contents.sources.sum(\.size))
            let summary: ArchiveWriter.Summary
            do {
                defer { bar.finish() }
                summary = try await writer.write(contents.sources, to: output, over: below) { bar.report($0) }
            }
            let seconds = Double(Clock.wall() - start) / 1e9
            let archive = try await StorageArchive.open(output, on: queue)
            writeToStandardOutput(FileTypeTotals(archive).table.text)
            let speed = Units.rate(bytesPerSecond: Double(summary.contentBytes) / max(seconds, 1e-9))
            var text = "\n\(PrintablePath(output.string)): \(Units.count(UInt64(summary.entries))) files, "
            if !base.isEmpty { text += "\(Units.count(UInt64(summary.deletions))) deletions, " }
            text += "\(Units.bytes(summary.contentBytes)) in \(Units.bytes(summary.fileSize)), "
            writeToStandardOutput(text + "\(Units.fixed(seconds, decimals: 2)) s, \(speed)\n")
        }
    }
}

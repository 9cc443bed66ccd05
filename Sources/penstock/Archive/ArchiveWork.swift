import ArgumentParser
import PenstockArchive
import SystemPackage

/// A bar for work on an archive. Ctrl-C ends the work.
final class ArchiveBar: Sendable {
    private let bar: ProgressBar
    private let last = Counted()

    /// What was drawn already; one task at a time reports.
    private final class Counted: @unchecked Sendable {
        var bytes: UInt64 = 0
    }

    init(_ label: String, total: UInt64) { bar = ProgressBar(label, total: total) }

    func advance(by bytes: UInt64) { bar.advance(by: bytes) }

    func report(_ progress: ArchiveProgress) {
        bar.advance(by: progress.bytes - last.bytes)
        last.bytes = progress.bytes
        if Interrupt.isRequested { withUnsafeCurrentTask { $0?.cancel() } }
    }

    func finish() { bar.finish() }
}

/// The archive that a command works on, and what lies on it.
struct ArchiveArguments: ParsableArguments {
    @Argument(help: ArgumentHelp("The archive; then, in order, the patches that lie on it.", valueName: "archive"))
    var archives: [String]

    var paths: [FilePath] { archives.map { FilePath($0) } }

    mutating func validate() throws {
        guard !archives.isEmpty else { throw ValidationError("give an archive") }
    }
}

import Glibc
import Penstock
import Synchronization
import SystemPackage

/// How far the streaming has come, and the line on the terminal that says so.
final class Progress: Sendable {
    private let files = Atomic<Int>(0)
    private let bytes = Atomic<Int>(0)
    /// 0 until the survey has ended.
    private let allFiles = Atomic<Int>(0)
    private let allBytes = Atomic<Int>(0)

    private static let isShown = isatty(STDERR_FILENO) == 1
    private static let width = 30

    func set(files count: Int, bytes byteCount: Int) {
        files.store(count, ordering: .relaxed)
        bytes.store(byteCount, ordering: .relaxed)
    }
    func addFile() { files.wrappingAdd(1, ordering: .relaxed) }
    func add(bytes count: Int) { bytes.wrappingAdd(count, ordering: .relaxed) }

    /// Walks the roots once more, ahead of the streaming, to know how much there is. Only for the terminal.
    func survey(_ roots: [FilePath]) async {
        guard Self.isShown else { return }
        await withTaskExecutorPreference(BlockingThreads.shared) {
            var count = 0
            var size = 0
            for case .file(let asset) in FileWalk(roots) {
                guard !Task.isCancelled else { return }
                count += 1
                size += Int(asset.size)
            }
            allBytes.store(size, ordering: .relaxed)
            allFiles.store(count, ordering: .relaxed)
        }
    }

    /// Draws the line from the second second on, until its task is cancelled.
    func show() async {
        guard Self.isShown else { return }
        let start = ContinuousClock.now
        var wait = Duration.seconds(1)
        while (try? await Task.sleep(for: wait)) != nil {
            writeToTerminal("\r\(line(after: ContinuousClock.now - start))\u{1B}[K")
            wait = .milliseconds(100)
        }
        writeToTerminal("\r\u{1B}[K")
    }

    private func line(after duration: Duration) -> String {
        let (files, bytes) = (files.load(ordering: .relaxed), bytes.load(ordering: .relaxed))
        let (allFiles, allBytes) = (allFiles.load(ordering: .relaxed), allBytes.load(ordering: .relaxed))
        let rate = Units.rate(bytes, duration)
        guard allFiles > 0 else { return "\(Units.grouped(files)) files, \(Units.bytes(bytes)), \(rate)" }
        // Files of size 0 may hold bytes (in `/proc`), and files grow: the bar ends at its end all the same.
        let fraction = min(1, Double(bytes) / Double(max(1, allBytes)))
        let filled = Int(fraction * Double(Self.width))
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: Self.width - filled)
        return "\(bar) \(Int(fraction * 100)) %  \(Units.grouped(files)) of \(Units.grouped(allFiles)) files  \(rate)"
    }

    private func writeToTerminal(_ text: String) {
        var text = text
        text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

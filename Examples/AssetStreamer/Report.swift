import Penstock
import SystemPackage

/// What came of it all.
struct Report: Sendable {
    private(set) var files = 0
    private(set) var bytes = 0
    private(set) var verified = 0
    private(set) var changed = Problems()
    private(set) var unreadable = Problems()
    private(set) var wrong = Problems()

    var duration = Duration.zero
    var statistics: Statistics?
    var roots: [String] = []
    var driver = ""
    /// Where the files went, and how, as label and text.
    var destination: [(label: String, text: String)] = []
    /// Whether what was verified has been read back from a GPU.
    var readsBack = false
    var verifies = true
    var wasStopped = false

    /// Whether every file that can be read was verified, or at least streamed if nobody asked for more.
    var isGood: Bool { wrong.count == 0 && changed.count == 0 && !wasStopped }

    /// Problems of one kind: all are counted, the first few remembered.
    struct Problems: Sendable {
        private(set) var count = 0
        private(set) var first: [String] = []

        static let remembered = 5

        mutating func add(_ line: String) {
            count += 1
            if first.count < Self.remembered { first.append(line) }
        }
    }

    mutating func add(_ outcome: Outcome) {
        switch outcome {
        case .verified(let count):
            verified += 1
            files += 1
            bytes += count
        case .streamed(let count):
            files += 1
            bytes += count
        case .changed(let path): changed.add("\(path): it changes while it is read")
        case .unreadable(let path, let reason): unreadable.add("\(path): \(reason)")
        case .wrong(let path, let reason): wrong.add("\(path): \(reason)")
        case .stopped: break
        }
    }
}

import PenstockArchive
import Testing

/// The rules and the order of paths.
@Suite struct EntryPaths {
    @Test(arguments: [
        "a", "a/b", "a-b/c.d", ".hidden", "..a", "a..", "...", "a/.b", "ä/ö", "a b", "a\\b", "a\nb",
        String(repeating: "x", count: 255),
    ])
    func pathsWithinTheFolderAreAccepted(_ path: String) {
        #expect(EntryPath.problem(path) == nil)
    }

    @Test(arguments: [
        "", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/./b", "a/../b", "a/..", "a/.", "a\0b", "\0",
        String(repeating: "x", count: 256), String(repeating: "x/", count: 2048) + "x",
    ])
    func whatCouldLeadElsewhereIsRefused(_ path: String) {
        #expect(EntryPath.problem(path) != nil)
    }

    @Test func whatIsInAFolderFollowsItAtOnce() {
        let ordered = ["a", "a/b", "a/b/c", "a/c", "a b", "a!", "a-b", "a.b", "a0", "ab", "b", "ä"]
        for (first, second) in zip(ordered, ordered.dropFirst()) {
            #expect(EntryPath.precedes(first, second) && !EntryPath.precedes(second, first), "\(first) \(second)")
        }
        #expect(ordered.shuffled().sorted(by: EntryPath.precedes) == ordered)
        #expect(!EntryPath.precedes("a", "a"))
    }

    @Test func printedPathsCannotSteerATerminal() {
        #expect("\(PrintablePath("a/ü b"))" == "a/ü b")
        #expect(
            "\(PrintablePath("a\u{1B}[2Jb"))" == "a\\u{0000001B}[2Jb"
                || "\(PrintablePath("a\u{1B}[2Jb"))" == "a\\u{1B}[2Jb")
        #expect(!"\(PrintablePath("a\n\r\u{9B}\u{202E}"))".unicodeScalars.contains { $0.value < 32 || $0.value > 126 })
    }
}

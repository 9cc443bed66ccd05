/// The rules of an entry's path, on its bytes: UTF-8, relative, components between single slashes, none of them `.` or `..`.
package enum EntryPath {
    private static let slash = UInt8(ascii: "/")
    private static let dot = UInt8(ascii: ".")

    /// What is wrong with the path, apart from its encoding; nil if nothing is.
    package static func problem(_ path: RawSpan) -> String? {
        guard !path.isEmpty else { return "The path is empty" }
        guard path.byteCount <= ArchiveFormat.longestPath else { return "The path has more than 4095 bytes" }
        var start = 0
        for index in 0...path.byteCount {
            let byte = index < path.byteCount ? path.number(at: index, as: UInt8.self) : slash
            if byte == 0 { return "The path has a NUL in it" }
            guard byte == slash else { continue }
            if let problem = problem(component: start..<index, of: path) { return problem }
            start = index + 1
        }
        return nil
    }

    private static func problem(component range: Range<Int>, of path: RawSpan) -> String? {
        func byte(_ index: Int) -> UInt8 { path.number(at: index) }
        switch range.count {
        case 0: return range.lowerBound == 0 ? "The path is absolute" : "The path has an empty component"
        case 1 where byte(range.lowerBound) == dot: return "The path has the component `.`"
        case 2 where byte(range.lowerBound) == dot && byte(range.lowerBound + 1) == dot:
            return "The path has the component `..`"
        case let count where count > ArchiveFormat.longestComponent: return "A component has more than 255 bytes"
        default: return nil
        }
    }

    package static func problem(_ path: String) -> String? {
        var path = path
        return path.withUTF8 { problem($0.span.bytes) }
    }

    /// The order of the table: that of the bytes, with the slash before all others, so that what is in a folder follows
    /// it without a gap. Negative: `first` comes before `second`.
    package static func order(_ first: RawSpan, _ second: RawSpan) -> Int {
        for index in 0..<min(first.byteCount, second.byteCount) {
            let (one, other) = (first.number(at: index, as: UInt8.self), second.number(at: index, as: UInt8.self))
            if one != other { return one == slash ? -1 : other == slash ? 1 : Int(one) - Int(other) }
        }
        return first.byteCount - second.byteCount
    }

    package static func precedes(_ first: String, _ second: String) -> Bool {
        var (first, second) = (first, second)
        return first.withUTF8 { one in second.withUTF8 { other in order(one.span.bytes, other.span.bytes) } } < 0
    }

    /// Whether the first path is a folder of the second.
    package static func isFolder(_ folder: RawSpan, of path: RawSpan) -> Bool {
        guard path.byteCount > folder.byteCount, path.number(at: folder.byteCount, as: UInt8.self) == slash else {
            return false
        }
        return order(folder, path.extracting(first: folder.byteCount)) == 0
    }
}

/// A path for people: control characters, which could steer a terminal, are written as escapes.
public struct PrintablePath: CustomStringConvertible, Sendable {
    /// The path with every control character as `\u{…}`.
    public let description: String

    /// Makes a path fit for print.
    public init(_ path: String) {
        let isHarmless = path.unicodeScalars.allSatisfy { !Self.mustEscape($0) }
        description =
            isHarmless
            ? path
            : path.unicodeScalars.reduce(into: "") { text, scalar in
                if Self.mustEscape(scalar) {
                    text += scalar.escaped(asASCII: true)
                } else {
                    text.unicodeScalars.append(scalar)
                }
            }
    }

    private static func mustEscape(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        // Formats, too: they can write a line from right to left.
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}

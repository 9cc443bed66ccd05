/// Names a codec in a file: four printable ASCII characters, such as `"gdfl"`.
public struct CodecIdentifier: RawRepresentable, Hashable, Sendable {
    /// The four characters, the first in the lowest byte, so that a little-endian file shows them in reading order.
    public let rawValue: UInt32

    /// Any number, as a file may hold it; one that is not four printable characters names no codec.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Nil unless the text is four printable ASCII characters.
    public init?(_ text: some StringProtocol) {
        guard let rawValue = Self.pack(text.utf8) else { return nil }
        self.init(rawValue: rawValue)
    }

    /// Whether it is four printable characters, as that of every codec is.
    package var isPrintable: Bool { Self.pack((0..<4).map { UInt8(truncatingIfNeeded: rawValue >> (8 * $0)) }) != nil }

    private static func pack(_ characters: some Collection<UInt8>) -> UInt32? {
        guard characters.count == 4, characters.allSatisfy({ (0x20...0x7E).contains($0) }) else { return nil }
        return characters.reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}

extension CodecIdentifier: ExpressibleByStringLiteral {
    /// - Precondition: The literal is four printable ASCII characters.
    public init(stringLiteral text: StaticString) {
        guard let rawValue = text.withUTF8Buffer(Self.pack) else {
            preconditionFailure("A codec identifier is four printable ASCII characters, not \"\(text)\"")
        }
        self.init(rawValue: rawValue)
    }
}

extension CodecIdentifier: CustomStringConvertible {
    /// The four characters, or the number in hexadecimal where they cannot be printed.
    public var description: String {
        let bytes = (0..<4).map { UInt8(truncatingIfNeeded: rawValue >> (8 * $0)) }
        guard isPrintable else { return "0x" + String(rawValue, radix: 16) }
        return String(decoding: bytes, as: UTF8.self)
    }
}

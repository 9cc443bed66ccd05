/// Why bytes could not be encoded or decoded.
public struct CodecError: Error, Sendable, Hashable {
    /// The kind of failure. New codes may be added, so a `switch` needs a `default`.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: UInt8, Sendable {
            case malformed, truncated, sizeMismatch, destinationTooSmall, notSupported, outOfMemory
        }

        private let kind: Kind
        private init(_ kind: Kind) { self.kind = kind }

        /// The compressed bytes break a rule of their format.
        public static let malformed = Code(.malformed)
        /// The compressed bytes end too early.
        public static let truncated = Code(.truncated)
        /// The compressed bytes hold more or fewer bytes than the destination.
        public static let sizeMismatch = Code(.sizeMismatch)
        /// The encoded bytes do not fit into the destination.
        public static let destinationTooSmall = Code(.destinationTooSmall)
        /// The format allows it, this codec does not.
        public static let notSupported = Code(.notSupported)
        /// There is no memory for the codec's tables.
        public static let outOfMemory = Code(.outOfMemory)

        /// The code's name, as in the source.
        public var description: String { "\(kind)" }
    }

    /// The kind of failure.
    public var code: Code
    /// Where in the compressed bytes the failure was noticed, which is at or after its cause; nil where none is to blame.
    public var offset: Int?
    /// What is wrong, for people.
    public var message: String

    /// Makes an error, for codecs of one's own.
    public init(_ code: Code, offset: Int? = nil, _ message: String) {
        self.code = code
        self.offset = offset
        self.message = message
    }
}

extension CodecError: CustomStringConvertible {
    /// One line: the message, the offset and the code.
    public var description: String {
        let place = offset.map { " at compressed byte \($0)" } ?? ""
        return "\(message)\(place) [\(code)]"
    }
}

extension CodecError {
    /// What was decoded is not what was to be had.
    static func size(_ count: Int, of expected: Int) -> CodecError {
        CodecError(.sizeMismatch, "The chunk holds \(count) bytes, the destination \(expected)")
    }

    static let destinationTooSmall = CodecError(
        .destinationTooSmall, "The encoded bytes do not fit into the destination")
}

public import SystemPackage

/// Why an archive could not be made, opened or read: what is wrong, where, and in which entry.
public struct ArchiveError: Error, Sendable {
    /// The kind of failure. New codes may be added, so a `switch` needs a `default`.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: UInt8, Sendable {
            case notAnArchive, unsupportedVersion, truncated, malformed, checksumMismatch, limitExceeded
            case invalidPath, duplicatePath, unsorted, overlap, conflictingPaths
            case overlayCycle, overlayMismatch
            case noSuchEntry, invalidRange, unknownCodec, undecodable
            case sourceChanged, unsafeDestination, alreadyExists, cancelled, storage
        }

        private let kind: Kind
        private init(_ kind: Kind) { self.kind = kind }

        /// The file does not begin like an archive.
        public static let notAnArchive = Code(.notAnArchive)
        /// An archive of a version, or with a feature, that is newer than this library.
        public static let unsupportedVersion = Code(.unsupportedVersion)
        /// The file ends too early.
        public static let truncated = Code(.truncated)
        /// The header or the table breaks a rule of the format.
        public static let malformed = Code(.malformed)
        /// The bytes are not those that were written.
        public static let checksumMismatch = Code(.checksumMismatch)
        /// More than ``ArchiveLimits`` or the format allow.
        public static let limitExceeded = Code(.limitExceeded)
        /// A path that is empty, absolute, too long, not UTF-8, or that has a component such as `..`.
        public static let invalidPath = Code(.invalidPath)
        /// Two entries have one path.
        public static let duplicatePath = Code(.duplicatePath)
        /// The table's entries are out of order.
        public static let unsorted = Code(.unsorted)
        /// Two chunks claim the same bytes of the file, or one lies outside of what chunks may use.
        public static let overlap = Code(.overlap)
        /// One entry's path is a folder of another's.
        public static let conflictingPaths = Code(.conflictingPaths)
        /// An archive is its own base, or stands in the list of overlays twice.
        public static let overlayCycle = Code(.overlayCycle)
        /// A patch without its base below it, or an archive that is no patch above another.
        public static let overlayMismatch = Code(.overlayMismatch)
        /// The archive has no entry of that path.
        public static let noSuchEntry = Code(.noSuchEntry)
        /// The range lies outside of the entry or of the buffer.
        public static let invalidRange = Code(.invalidRange)
        /// The entry is encoded by a codec that was not given.
        public static let unknownCodec = Code(.unknownCodec)
        /// A chunk with the right checksum that its codec refuses; the underlying error says why.
        public static let undecodable = Code(.undecodable)
        /// A file changed, or lost its size, while it was packed.
        public static let sourceChanged = Code(.sourceChanged)
        /// Extraction would have left its folder, or would have followed a link.
        public static let unsafeDestination = Code(.unsafeDestination)
        /// Extraction would have replaced a file.
        public static let alreadyExists = Code(.alreadyExists)
        /// The task was cancelled.
        public static let cancelled = Code(.cancelled)
        /// The system refused; the underlying error says what and why.
        public static let storage = Code(.storage)

        /// The code's name, as in the source.
        public var description: String { "\(kind)" }
    }

    // A class behind the struct: results of one word are returned in registers, and batches of them are small.
    private final class Storage: Sendable {
        let code: Code
        let file: FilePath?
        let entry: String?
        let offset: UInt64?
        let message: String
        let underlying: (any Error)?

        init(
            _ code: Code, _ file: FilePath?, _ entry: String?, _ offset: UInt64?, _ message: String,
            _ underlying: (any Error)?
        ) {
            self.code = code
            self.file = file
            self.entry = entry
            self.offset = offset
            self.message = message
            self.underlying = underlying
        }
    }

    private let storage: Storage

    /// Makes an error.
    public init(
        _ code: Code, file: FilePath? = nil, entry: String? = nil, offset: UInt64? = nil, _ message: String,
        underlying: (any Error)? = nil
    ) {
        storage = Storage(code, file, entry, offset, message, underlying)
    }

    /// The kind of failure.
    public var code: Code { storage.code }
    /// The archive or the file concerned, where one is known.
    public var file: FilePath? { storage.file }
    /// The entry concerned, where one is known.
    public var entry: String? { storage.entry }
    /// Where in the file, in bytes, where a place is to blame.
    public var offset: UInt64? { storage.offset }
    /// What is wrong and what to do about it, for people.
    public var message: String { storage.message }
    /// The error behind this one, if there is one.
    public var underlying: (any Error)? { storage.underlying }

    /// The same error, of that file if none is named yet.
    func inFile(_ file: FilePath) -> ArchiveError {
        guard self.file == nil else { return self }
        return ArchiveError(code, file: file, entry: entry, offset: offset, message, underlying: underlying)
    }
}

extension ArchiveError: CustomStringConvertible {
    /// One line: the file, the entry, the offset, the message and the code; then the error behind it.
    public var description: String {
        var text = ""
        if let file { text += "\(PrintablePath(file.string)): " }
        if let entry { text += "\(PrintablePath(entry)): " }
        text += message
        if let offset { text += " at byte \(offset)" }
        text += " [\(code)]"
        if let underlying { text += "\n  because: \(underlying)" }
        return text
    }
}

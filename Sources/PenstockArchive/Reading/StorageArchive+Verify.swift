import CLinux
import Penstock
import PenstockCompression
public import SystemPackage

/// A place of an archive that is not as it was written.
public struct ArchiveDamage: Sendable, Hashable {
    /// What is wrong there.
    public enum Kind: String, Sendable {
        /// A chunk's bytes are not those of its checksum.
        case checksum
        /// A chunk has its checksum, and its codec refuses it all the same.
        case undecodable
        /// The disk does not give the bytes.
        case unreadable
        /// Bytes between chunks that belong to nothing and are not zero.
        case padding
        /// An entry's codec is not known, so that only its checksums were looked at.
        case unknownCodec
    }

    /// What is wrong.
    public let kind: Kind
    /// The archive file.
    public let file: FilePath
    /// Where in the archive file, in bytes.
    public let offset: UInt64
    /// How many bytes are concerned.
    public let count: Int
    /// The entry whose bytes they are; of padding, the entry before it.
    public let entry: String?
    /// What is wrong, for people.
    public let message: String
}

extension ArchiveDamage: CustomStringConvertible {
    /// One line: the file, the entry, what is wrong and where.
    public var description: String {
        let entry = entry.map { "\(PrintablePath($0)): " } ?? ""
        return "\(PrintablePath(file.string)): \(entry)\(message), \(count) bytes at \(offset) [\(kind)]"
    }
}

extension StorageArchive {
    /// Reads all of the archive, patches and what they hide included, and holds each chunk against its checksum and its
    /// codec, and what lies between chunks against zero. Header and table were checked when the archive was opened.
    ///
    /// - Parameters:
    ///   - decodes: Whether chunks are decoded, too.
    ///   - progress: Called now and then, with bytes as they are stored.
    ///   - report: Called with each damage, in the order of the file.
    /// - Returns: How many damages there were.
    /// - Throws: ``ArchiveError/Code/cancelled``; ``ArchiveError/Code/storage`` where it is the machine or the queue, and not
    ///   the archive, that is to blame: without memory or threads, nothing can be said of the bytes.
    @discardableResult
    public func verify(
        decoding decodes: Bool = true, progress: (@Sendable (ArchiveProgress) -> Void)? = nil,
        report: (ArchiveDamage) -> Void
    ) async throws(ArchiveError) -> Int {
        let threads = Int(linux_online_processors())
        var state = ArchiveProgress()
        state.entryCount = layers.reduce(0) { $0 + $1.table.count }
        state.byteCount = layers.sum(\.table.header.tableOffset)
        var damages = 0
        for layer in layers {
            var spans = VerifiedSpans(layer.table)
            let failure: ArchiveError? = await withTaskGroup(of: (Int, Result<[ArchiveDamage], ArchiveError>).self) {
                group in
                var ready: [Int: [ArchiveDamage]] = [:]
                var lengths: [Int: (bytes: Int, entries: Int)] = [:]
                var (started, reported) = (0, 0)
                while true {
                    while started - reported < 2 * threads, let span = spans.next() {
                        let index = started
                        started += 1
                        lengths[index] = (Int(span.end - span.start), span.entriesEnded)
                        group.addTask {
                            let result = await result { () async throws(ArchiveError) in
                                try await layer.verify(span, decodes: decodes)
                            }
                            return (index, result)
                        }
                    }
                    guard reported < started else { return nil }
                    guard let (index, result) = await group.next() else { preconditionFailure("a span has got lost") }
                    switch result {
                    case .failure(let error):
                        group.cancelAll()
                        return error
                    case .success(let found): ready[index] = found
                    }
                    while let found = ready.removeValue(forKey: reported) {
                        found.forEach(report)
                        damages += found.count
                        let done = lengths.removeValue(forKey: reported)!
                        state.bytes += UInt64(done.bytes)
                        state.entries += done.entries
                        reported += 1
                        progress?(state)
                    }
                }
            }
            if let failure { throw failure }
        }
        return damages
    }
}

/// Chunks that are verified together, and what lies around them.
private struct VerifiedSpan: Sendable {
    struct Item: Sendable {
        var chunk: EncodedChunk
        var entry: Int
    }

    /// Where what is before the first chunk begins.
    var start: UInt64
    var end: UInt64
    var items: [Item] = []
    /// The entry before the span.
    var entryBefore: Int?
    var entriesEnded = 0

    /// Each chunk, and what lies between two, by itself.
    var parts: [VerifiedSpan] {
        var parts: [VerifiedSpan] = []
        var (position, entryBefore) = (start, entryBefore)
        func addPadding(upTo end: UInt64) {
            guard position < end else { return }
            parts.append(VerifiedSpan(start: position, end: end, entryBefore: entryBefore))
        }
        for item in items {
            addPadding(upTo: item.chunk.offset)
            position = item.chunk.offset + UInt64(item.chunk.count)
            parts.append(VerifiedSpan(start: item.chunk.offset, end: position, items: [item]))
            entryBefore = item.entry
        }
        addPadding(upTo: end)
        return parts
    }
}

extension StorageError {
    /// Whether it says something of the bytes, and nothing of the queue or the machine.
    fileprivate var isOfTheBytes: Bool { [.io, .malformedData, .checksumMismatch].contains(code) }
}

/// Cuts an archive into spans that cover every byte before its table, and after its header.
private struct VerifiedSpans {
    private static let size: UInt64 = 1 << 20

    private let table: ArchiveTable
    private var position = UInt64(ArchiveFormat.headerSize)
    private var entry = 0
    private var chunk = 0
    private var entryBefore: Int?

    init(_ table: ArchiveTable) { self.table = table }

    mutating func next() -> VerifiedSpan? {
        let tableOffset = table.header.tableOffset
        guard position < tableOffset || entry < table.count else { return nil }
        var span = VerifiedSpan(start: position, end: position, entryBefore: entryBefore)
        while entry < table.count {
            let record = table[entry: entry]
            guard chunk < record.chunkCount else {
                entry += 1
                chunk = 0
                span.entriesEnded += 1
                continue
            }
            let place = table[chunk: record.firstChunk + chunk]
            let end = place.offset + UInt64(place.count)
            guard span.items.isEmpty || end - span.start <= Self.size else { break }
            span.items.append(
                .init(
                    chunk: EncodedChunk(
                        offset: place.offset, count: place.count, decodedCount: record.decodedCount(ofChunk: chunk),
                        isStored: place.isStored, checksum: place.checksum), entry: entry))
            span.end = end
            entryBefore = entry
            chunk += 1
        }
        // Behind the last chunk, up to the table.
        if entry == table.count { span.end = tableOffset }
        position = span.end
        return span
    }
}

extension ArchiveLayer {
    fileprivate func verify(
        _ span: VerifiedSpan, decodes: Bool
    ) async throws(ArchiveError) -> [ArchiveDamage] {
        let count = Int(span.end - span.start)
        guard count > 0 else { return [] }
        // In one piece with what a chunk is decoded into: who holds memory while it waits for more can wait for ever.
        let largest = decodes ? span.items.map(\.chunk.decodedCount).max() ?? 0 : 0
        let buffer = try await allocate(count + largest)
        do throws(StorageError) {
            let read = try await queue.read(from: file, at: span.start, into: buffer[0..<count])
            return try await queue.work { self.damages(in: span, buffer, count: read, decodes: decodes) }
        } catch {
            guard error.isOfTheBytes else { throw failed(error) }
            return try await unreadable(span, buffer, decodes: decodes)
        }
    }

    private func failed(_ error: StorageError) -> ArchiveError {
        ArchiveError(error, file: file.path, "The archive cannot be verified")
    }

    /// Reads bit by bit what could not be read at once: the neighbour of a bad block may be good.
    private func unreadable(
        _ span: VerifiedSpan, _ buffer: HostBuffer, decodes: Bool
    ) async throws(ArchiveError) -> [ArchiveDamage] {
        var damages: [ArchiveDamage] = []
        for part in span.parts {
            let count = Int(part.end - part.start)
            do throws(StorageError) {
                let read = try await queue.read(from: file, at: part.start, into: buffer[0..<count])
                damages += try await queue.work { self.damages(in: part, buffer, count: read, decodes: decodes) }
            } catch {
                guard error.isOfTheBytes else { throw failed(error) }
                let what = part.items.isEmpty ? "bytes between chunks" : "a chunk"
                damages.append(
                    damage(
                        .unreadable, part.start, count, part.items.first?.entry ?? part.entryBefore,
                        "\(what) cannot be read: \(error)"))
            }
        }
        return damages
    }

    /// - Parameter count: How many bytes of the span the buffer holds.
    private func damages(in span: VerifiedSpan, _ buffer: HostBuffer, count: Int, decodes: Bool) -> [ArchiveDamage] {
        var damages: [ArchiveDamage] = []
        var (position, entryBefore) = (span.start, span.entryBefore)
        func checkPadding(upTo end: UInt64) {
            let range = min(Int(position - span.start), count)..<min(Int(end - span.start), count)
            let wrong = buffer[range].withUnsafeBytes { bytes in bytes.firstIndex { $0 != 0 } }
            guard let wrong else { return }
            damages.append(
                damage(
                    .padding, position + UInt64(wrong), range.count - wrong, entryBefore,
                    "bytes that belong to nothing are not zero"))
        }
        for item in span.items {
            let chunk = item.chunk
            checkPadding(upTo: chunk.offset)
            let from = Int(chunk.offset - span.start)
            if from + chunk.count > count {
                damages.append(
                    damage(.unreadable, chunk.offset, chunk.count, item.entry, "the file has become shorter"))
            } else if let found = self.damage(item, buffer, from, decodes: decodes) {
                damages.append(found)
            }
            position = chunk.offset + UInt64(chunk.count)
            entryBefore = item.entry
        }
        checkPadding(upTo: span.end)
        return damages
    }

    private func damage(
        _ item: VerifiedSpan.Item, _ buffer: HostBuffer, _ from: Int, decodes: Bool
    ) -> ArchiveDamage? {
        let chunk = item.chunk
        let bytes = buffer[from..<from + chunk.count]
        guard bytes.withUnsafeBytes({ PenstockArchive.checksum($0) }) == chunk.checksum else {
            return damage(.checksum, chunk.offset, chunk.count, item.entry, "a chunk's checksum differs")
        }
        guard decodes, !chunk.isStored else { return nil }
        let place = buffer[(buffer.count - chunk.decodedCount)...]
        do throws(ArchiveError) {
            guard let codec = try codec(of: table[entry: item.entry]) else { return nil }
            do throws(CodecError) {
                try bytes.withUnsafeBytes { bytes throws(CodecError) in
                    try place.withUnsafeMutableBytes { place throws(CodecError) in
                        var span = place.mutableBytes
                        try codec.decode(bytes.bytes, into: &span)
                    }
                }
                return nil
            } catch {
                return damage(
                    .undecodable, chunk.offset, chunk.count, item.entry, "a chunk cannot be decoded: \(error)")
            }
        } catch {
            return damage(.unknownCodec, chunk.offset, chunk.count, item.entry, error.message)
        }
    }

    private func damage(
        _ kind: ArchiveDamage.Kind, _ offset: UInt64, _ count: Int, _ entry: Int?, _ message: String
    ) -> ArchiveDamage {
        ArchiveDamage(
            kind: kind, file: file.path, offset: offset, count: count,
            entry: entry.map { table.path(of: table[entry: $0]) }, message: message)
    }
}

import Penstock

/// A source that is being read.
struct SourceReader: Sendable {
    private let source: ArchiveSource
    private let queue: StorageQueue
    private let file: StorageFile?

    /// Opens the source's file, if it is one, and makes sure that it has the size that it is said to have.
    init(_ source: ArchiveSource, on queue: StorageQueue) async throws(ArchiveError) {
        self.source = source
        self.queue = queue
        guard case .file(let path, let size) = source.content else {
            file = nil
            return
        }
        let sizeNow: UInt64
        do throws(StorageError) {
            let file = try await queue.open(path)
            self.file = file
            sizeNow = try await file.size()
        } catch {
            throw ArchiveError(error, file: path, entry: source.path, "A file cannot be opened")
        }
        guard sizeNow == size else { throw changed }
    }

    private var changed: ArchiveError {
        ArchiveError(
            .sourceChanged, file: file?.path, entry: source.path,
            "The file has no longer \(source.size) bytes; pack it when nobody writes it")
    }

    /// Fills the slice.
    func read(at offset: UInt64, into slice: HostBuffer.Slice) async throws(ArchiveError) {
        guard let file else {
            guard case .bytes(let bytes) = source.content else { return }
            slice.withUnsafeMutableBytes { $0.copyBytes(from: bytes[Int(offset)..<Int(offset) + slice.count]) }
            return
        }
        let count: Int
        do throws(StorageError) {
            count = try await queue.read(from: file, at: offset, into: slice)
        } catch {
            throw ArchiveError(error, entry: source.path, "A file cannot be read")
        }
        guard count == slice.count else { throw changed }
    }
}

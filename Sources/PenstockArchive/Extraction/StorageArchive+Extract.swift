import Penstock
public import SystemPackage

extension StorageArchive {
    /// Writes entries into a folder, as files.
    ///
    /// Nothing is written outside of the folder, whatever the paths are and whatever links the folder holds: a link on the way
    /// is an error, ``ArchiveError/Code/unsafeDestination``.
    ///
    /// - Parameters:
    ///   - entries: Which; nil: all.
    ///   - folder: The folder, which is made if its parent is there. It may itself be a link.
    ///   - replaces: Whether files that are there already are replaced, each when the new one is complete; else they are an
    ///     error, ``ArchiveError/Code/alreadyExists``.
    ///   - progress: Called now and then, by one task at a time.
    /// - Throws: ``ArchiveError``. Files that are complete stay, the one that is not is removed, and what it was to replace
    ///   stays.
    public func extract(
        _ entries: [ArchiveEntry]? = nil, to folder: FilePath, replacing replaces: Bool = false,
        progress: (@Sendable (ArchiveProgress) -> Void)? = nil
    ) async throws(ArchiveError) {
        try await extract(entries, to: folder, replacing: replaces, walking: false, progress: progress)
    }

    /// - Parameter walks: Whether paths are resolved as where there is no `openat2`, even if there is.
    package func extract(
        _ entries: [ArchiveEntry]? = nil, to folder: FilePath, replacing replaces: Bool = false, walking walks: Bool,
        progress: (@Sendable (ArchiveProgress) -> Void)? = nil
    ) async throws(ArchiveError) {
        /// Files are made on a worker, one after the other; what is read ahead is decoded meanwhile.
        func work<T: Sendable>(
            _ body: @escaping @Sendable () throws(ArchiveError) -> T
        ) async throws(ArchiveError) -> T {
            try await queue.work(on: folder, "Files cannot be made", body)
        }
        let destination = try await work { () throws(ArchiveError) in try ExtractionFolder(folder, walking: walks) }
        do throws(ArchiveError) {
            for try await part in contents(of: entries) {
                guard !Task.isCancelled else { throw ArchiveError.cancelled(folder) }
                try await work { () throws(ArchiveError) in
                    if part.offset == 0 { try destination.begin(part.entry.path, replacing: replaces) }
                    try part.withUnsafeBytes { bytes throws(ArchiveError) in try destination.write(bytes) }
                    if part.isLast { try destination.finish() }
                }
                progress?(part.progress)
            }
        } catch {
            destination.abandon()
            throw error
        }
    }
}

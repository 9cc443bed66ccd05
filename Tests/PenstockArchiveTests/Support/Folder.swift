import Glibc
import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// The codecs that archives are made with; nil: none.
enum Packer: String, CaseIterable, Sendable {
    case none, gdeflate, gdeflateStreams, zstd, lz4, deflate

    var codec: (any Codec)? {
        switch self {
        case .none: nil
        case .gdeflate: GDeflate(level: 1, framing: .page)
        case .gdeflateStreams: GDeflate(level: 1, framing: .tileStream)
        case .zstd: Zstd(level: 1)
        case .lz4: LZ4()
        case .deflate: Deflate(level: 1)
        }
    }
}

/// Bytes that shrink to about a half: every second block comes again and again.
func content(_ count: Int, _ seed: UInt64) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        let bytes = UnsafeMutableRawBufferPointer(buffer)
        for start in stride(from: 0, to: count, by: 512) {
            let block = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<min(start + 512, count)])
            FilePattern(seed).fill(block, at: UInt64(start / 512 % 2 * start))
        }
        initialized = count
    }
}

extension TemporaryDirectory {
    /// Makes a file with these bytes, and the folders that it is in.
    func make(_ path: String, _ bytes: [UInt8]) {
        var folder = self.path
        for component in path.split(separator: "/").dropLast() {
            folder.append(String(component))
            _ = mkdir(folder.string, 0o755)
        }
        let file = try! FileDescriptor.open(
            self[path], .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        _ = try! file.writeAll(bytes)
        try! file.close()
    }

    /// The names of what is in it, sorted.
    var names: [String] {
        guard let stream = opendir(path.string) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let start = UnsafeRawPointer(entry) + MemoryLayout<dirent>.offset(of: \.d_name)!
            let name = String(cString: start.assumingMemoryBound(to: CChar.self))
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

/// What a folder or an archive holds, by path.
typealias Files = [String: [UInt8]]

extension Files {
    /// Files of the sizes at which chunks begin and end, and one of several MiB.
    static func ofEverySize() -> Files {
        var files = ofSmallSizes()
        files["sizes/of 262143"] = content(262_143, 20)
        files["sizes/of 262144"] = content(262_144, 21)
        files["sizes/of 3145728"] = content(3 << 20, 22)
        return files
    }

    /// The same without those that take an encoder long.
    static func ofSmallSizes() -> Files {
        var files: Files = [:]
        let sizes = [0, 1, 15, 4096, 65_535, 65_536, 65_537, 262_145]
        for (index, size) in sizes.enumerated() { files["sizes/of \(size)"] = content(size, UInt64(index)) }
        files["noise/1"] = FilePattern(7).bytes(0..<70_000)
        files["noise/2"] = FilePattern(8).bytes(0..<33_000)
        files["zeros"] = [UInt8](repeating: 0, count: 600_000)
        for index in 0..<40 { files["small/\(index)/größe"] = content(index * 37, UInt64(index)) }
        return files
    }

    var sources: [ArchiveSource] { map { ArchiveSource($0.key, bytes: $0.value) } }

    func write(to directory: TemporaryDirectory, in folder: String) {
        for (path, bytes) in self { directory.make(folder + "/" + path, bytes) }
    }
}

extension StorageArchive {
    /// All that it holds, read entry by entry.
    func files() async throws -> Files {
        var files: Files = [:]
        for entry in entries { files[entry.path] = try await read(entry).bytes }
        return files
    }

    /// What verifying it reports.
    func damages() async throws -> [ArchiveDamage] {
        var damages: [ArchiveDamage] = []
        try await verify { damages.append($0) }
        return damages
    }
}

/// Calls `body`, which must throw an ``ArchiveError`` with the code, and returns the error.
@discardableResult
func expectArchiveFailure<T>(
    _ code: ArchiveError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> T
) async -> ArchiveError? {
    do {
        let value = try await body()
        Issue.record("expected \(code), got \(value)", sourceLocation: sourceLocation)
    } catch let error as ArchiveError {
        if error.code != code { Issue.record("expected \(code), got \(error)", sourceLocation: sourceLocation) }
        return error
    } catch {
        Issue.record("not an ArchiveError: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}

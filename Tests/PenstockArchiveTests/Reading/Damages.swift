import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// What has changed in an archive is found, and named.
@Suite(.timeLimit(.minutes(10))) struct Damages {
    private let directory = TemporaryDirectory()

    /// Entries of every kind, with gaps between them, in few bytes.
    private static let files: Files = [
        "a": content(700, 1), "b": [], "c/d": FilePattern(2).bytes(0..<33), "c/e": content(9000, 3),
        "c/ü": [UInt8](repeating: 7, count: 4096),
    ]

    private func pack(_ queue: StorageQueue, _ files: Files = Self.files, _ packer: Packer = .zstd) async throws
        -> [UInt8]
    {
        let path = directory["whole"]
        try await ArchiveWriter(on: queue, codec: packer.codec, chunkSize: 4096).write(files.sources, to: path)
        return directory.contents(path)
    }

    @Test(arguments: [Packer.none, .zstd, .gdeflate])
    func everyFlippedByteIsFoundAndNamed(_ packer: Packer) async throws {
        try await withStorageQueue { queue in
            let bytes = try await pack(queue, Self.files, packer)
            let table = try ArchiveTable(archive: bytes)
            let tableStart = Int(table.header.tableOffset)
            // Which entry each byte belongs to.
            var owners = [String?](repeating: nil, count: tableStart)
            for index in 0..<table.count {
                let entry = table[entry: index]
                for chunk in (0..<entry.chunkCount).map({ table[chunk: entry.firstChunk + $0] }) {
                    for offset in 0..<chunk.count { owners[Int(chunk.offset) + offset] = table.path(of: entry) }
                }
            }
            let path = directory["damaged"]
            directory.make("damaged", bytes)
            let file = try FileDescriptor.open(path, .writeOnly)
            defer { try! file.close() }
            // Each byte of the header and the table, and of the rest all that is not in the middle of a chunk.
            let edges = Set(
                (128..<tableStart).filter { owners[$0] != owners[max(128, $0 - 1)] }.flatMap { $0 - 3..<$0 + 3 })
            let places = (0..<bytes.count).filter { index in
                index < 128 || index >= tableStart || owners[index] == nil || edges.contains(index) || index % 13 == 0
            }
            for index in places {
                try file.writeAll(toAbsoluteOffset: Int64(index), [bytes[index] ^ 0x10])
                if index < 128 || index >= tableStart {
                    let error = await #expect(throws: ArchiveError.self, "byte \(index)") {
                        try await StorageArchive.open(path, on: queue)
                    }
                    #expect(error?.file == path && error?.offset != nil, "byte \(index)")
                } else {
                    let damages = try await StorageArchive.open(path, on: queue).damages()
                    #expect(damages.count == 1, "byte \(index)")
                    if let damage = damages.first {
                        #expect(damage.file == path && damage.kind == (owners[index] == nil ? .padding : .checksum))
                        #expect(damage.offset <= index && index < Int(damage.offset) + damage.count, "byte \(index)")
                        if let owner = owners[index] { #expect(damage.entry == owner) }
                    }
                }
                try file.writeAll(toAbsoluteOffset: Int64(index), [bytes[index]])
            }
            #expect(try await StorageArchive.open(path, on: queue).damages() == [])
        }
    }

    @Test func damagedChunksAreErrorsAndTheirNeighboursAreNot() async throws {
        try await withStorageQueue { queue in
            var bytes = try await pack(queue)
            let table = try ArchiveTable(archive: bytes)
            let entry = table[entry: table.find("c/e".utf8Span.span.bytes)!]
            let chunk = table[chunk: entry.firstChunk + 1]
            bytes[Int(chunk.offset) + 5] ^= 1
            directory.make("damaged", bytes)
            let archive = try await StorageArchive.open(directory["damaged"], on: queue)
            let found = try #require(archive["c/e"])
            let error = await expectArchiveFailure(.checksumMismatch) { try await archive.read(found) }
            #expect(error?.entry == "c/e" && error?.offset == chunk.offset && error?.file == directory["damaged"])
            // The other chunks of the entry, and the other entries.
            let whole = Self.files["c/e"]!
            #expect(try await archive.read(found, 0..<4096).bytes == Array(whole[..<4096]))
            #expect(try await archive.read(found, 8192..<9000).bytes == Array(whole[8192...]))
            for path in ["a", "b", "c/d", "c/ü"] { #expect(try await archive.read(path).bytes == Self.files[path]) }
            let fromContents = await expectArchiveFailure(.checksumMismatch) {
                for try await _ in archive.contents() {}
            }
            #expect(fromContents?.entry == "c/e")

            // Without checksums, it is the codec that finds out, or nobody.
            var options = StorageArchive.Options()
            options.verifiesChecksums = false
            let trusting = try await StorageArchive.open(directory["damaged"], on: queue, options: options)
            if let read = try? await trusting.read("c/e") { #expect(read.count == 9000) }
        }
    }

    @Test func aChunkThatNoCodecMadeIsFoundByDecodingIt() async throws {
        var image = TableImage([.init(path: "a", chunks: [4096])])
        // Half of it, as if zstd had made it so; the checksum is that of these bytes.
        let start = Int(ArchiveFormat.headerSize)
        let bytes = image.bytes
        image.put(UInt32(2048), at: image.chunk(0, 8))
        image.put(UInt32(0), at: image.chunk(0, 12))
        image.put(checksum(Array(bytes[start..<start + 2048]).span.bytes), at: image.chunk(0, 16))
        image.put(Zstd().identifier.rawValue, at: TableImage.entry(0, 16))
        var made = image.bytes
        for index in start + 2048..<start + 4096 { made[index] = 0 }
        directory.make("made", made)
        try await withStorageQueue { queue in
            let archive = try await StorageArchive.open(directory["made"], on: queue)
            let error = await expectArchiveFailure(.undecodable) { try await archive.read("a") }
            #expect(error?.entry == "a" && error?.underlying is CodecError)
            #expect(try await archive.damages().map(\.kind) == [.undecodable])
            let count = try await archive.verify(decoding: false) { _ in }
            #expect(count == 0)
        }
    }

    @Test func everyTruncationIsATypedErrorWithItsOffset() async throws {
        try await withStorageQueue { queue in
            let bytes = try await pack(queue)
            let path = directory["short"]
            directory.make("short", bytes)
            let file = try FileDescriptor.open(path, .readWrite)
            defer { try! file.close() }
            for count in (0..<bytes.count).reversed() where count % 7 == 0 || count < 200 || count > bytes.count - 200 {
                try file.resize(to: Int64(count))
                let error = await expectArchiveFailure(.truncated) { try await StorageArchive.open(path, on: queue) }
                #expect(error?.offset == UInt64(count) && error?.file == path)
            }
        }
    }

    @Test func anArchiveThatShrinksWhileItIsOpenIsAnError() async throws {
        try await withStorageQueue { queue in
            let bytes = try await pack(queue)
            directory.make("shrinking", bytes)
            let archive = try await StorageArchive.open(directory["shrinking"], on: queue)
            let file = try FileDescriptor.open(directory["shrinking"], .readWrite)
            try file.resize(to: 200)
            try file.close()
            await expectArchiveFailure(.truncated) { try await archive.read("c/e") }
            #expect(try await archive.damages().contains { $0.kind == .unreadable && $0.entry == "c/e" })
        }
    }

    @Test func whatIsNoArchiveIsATypedError() async throws {
        directory.make("text", [UInt8]("This is no archive, and quite long enough to hold a header, if it were.".utf8))
        try await withStorageQueue { queue in
            await expectArchiveFailure(.notAnArchive) { try await StorageArchive.open(directory["text"], on: queue) }
            await expectArchiveFailure(.storage) { try await StorageArchive.open(directory["gone"], on: queue) }
            await expectArchiveFailure(.storage) { try await StorageArchive.open(directory.path, on: queue) }
        }
    }
}

import Penstock
import PenstockArchive
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

/// The same sources give the same bytes.
@Suite(.timeLimit(.minutes(10))) struct Determinism {
    private let directory = TemporaryDirectory()

    @Test(arguments: Packer.allCases)
    func theBytesDependOnTheSourcesAlone(_ packer: Packer) async throws {
        let files = Files.ofSmallSizes()
        files.write(to: directory, in: "folder")
        try await withStorageQueue { queue in
            var archives: [[UInt8]] = []
            for window in [1, 2, 17] {
                // One codec for several archives: it must not remember the first when it makes the second.
                let path = directory["archive-\(window)"]
                var writer = ArchiveWriter(on: queue, codec: packer.codec)
                writer.window = window
                try await writer.write(files.sources.shuffled(), to: path)
                archives.append(directory.contents(path))
                try await writer.write(try ArchiveFolder(directory["folder"]).sources, to: path)
                archives.append(directory.contents(path))
            }
            #expect(archives.allSatisfy { $0 == archives[0] })
        }
    }

    @Test func chunksBeginWhereDirectReadsAndCopiesCan() async throws {
        let path = directory["archive"]
        try await withStorageQueue { queue in
            _ = try await ArchiveWriter(on: queue, codec: LZ4()).write(Files.ofEverySize().sources, to: path)
        }
        let table = try ArchiveTable(archive: directory.contents(path))
        for index in 0..<table.count {
            let entry = table[entry: index]
            for number in 0..<entry.chunkCount {
                let chunk = table[chunk: entry.firstChunk + number]
                #expect(chunk.offset % 16 == 0)
                if chunk.isStored && chunk.count >= 32 << 10 { #expect(chunk.offset % 4096 == 0) }
                if number == 0 && entry.size >= 512 << 10 { #expect(chunk.offset % 4096 == 0) }
            }
        }
    }
}

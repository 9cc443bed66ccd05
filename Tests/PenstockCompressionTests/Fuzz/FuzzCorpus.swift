import FuzzTargets
import Glibc
import Testing

/// The inputs that are kept for the fuzzer, what it found before among them, hold without it too.
@Suite struct FuzzCorpus {
    private static let folder =
        #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/Fuzz/Corpus"

    @Test func thereIsACorpusForEachTarget() throws {
        let names = try Self.entries(of: Self.folder)
        #expect(names == FuzzTarget.all.map(\.name).sorted())
    }

    @Test(arguments: FuzzTarget.all.map(\.name))
    func everyInputKeepsThePromises(_ name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let memory = FuzzMemory()
        let folder = Self.folder + "/" + name
        let inputs = try Self.entries(of: folder)
        #expect(!inputs.isEmpty)
        for input in inputs {
            let bytes = try Self.bytes(of: folder + "/" + input)
            do {
                try bytes.withUnsafeBytes { try target.check($0, memory) }
            } catch { Issue.record("\(name)/\(input): \(error)") }
        }
    }

    /// The names in a folder, sorted.
    private static func entries(of folder: String) throws -> [String] {
        let stream = try #require(opendir(folder), "\(folder) cannot be opened")
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    private static func bytes(of path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"), "\(path) cannot be opened")
        defer { fclose(file) }
        let limit = 1 << 20
        return [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            count = fread(buffer.baseAddress, 1, limit, file)
        }
    }
}

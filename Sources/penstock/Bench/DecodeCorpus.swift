import Glibc

/// Bytes of one kind to encode and decode: made here, from a seed, or read from files.
struct DecodeCorpus: Sendable {
    let name: String
    let bytes: [UInt8]

    /// What games stream, a quarter each: text, meshes, textures, and what is compressed already.
    static func mix(byteCount: Int, seed: UInt64) -> [DecodeCorpus] {
        var random = SplitMix64(seed: seed)
        let count = byteCount / 4
        return [
            DecodeCorpus(name: "text", bytes: text(count, &random)),
            DecodeCorpus(name: "meshes", bytes: meshes(count, &random)),
            DecodeCorpus(name: "textures", bytes: textures(count, &random)),
            DecodeCorpus(
                name: "incompressible", bytes: (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }),
        ]
    }

    /// Up to so many bytes of a file, or of the files below a directory.
    static func files(at path: String, byteCount: Int) throws -> DecodeCorpus {
        var status = stat()
        guard stat(path, &status) == 0 else { throw BenchError("\(path): \(String(cString: strerror(errno)))") }
        let files =
            status.st_mode & S_IFMT == S_IFDIR
            ? FileList.regularFiles(under: path, limit: 100_000) : FileList([path])
        var bytes: [UInt8] = []
        for index in 0..<files.count where bytes.count < byteCount {
            guard let file = fopen(files[index], "r") else { continue }
            defer { fclose(file) }
            bytes += [UInt8](unsafeUninitializedCapacity: byteCount - bytes.count) { buffer, count in
                count = fread(buffer.baseAddress, 1, buffer.count, file)
            }
        }
        guard !bytes.isEmpty else { throw BenchError("\(path) holds nothing to encode") }
        return DecodeCorpus(name: path, bytes: bytes)
    }

    // MARK: Kinds

    /// Lines of a scene description: words that come again, among numbers that do not.
    private static func text(_ count: Int, _ random: inout SplitMix64) -> [UInt8] {
        let words = (0..<400).map { _ in
            (0...Int.random(in: 1...9, using: &random)).map { _ in UInt8.random(in: 97...122, using: &random) }
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 64)
        while bytes.count < count {
            for _ in 0..<Int.random(in: 3...9, using: &random) {
                // The first words are the frequent ones.
                let word = min(Int.random(in: 0..<400, using: &random), Int.random(in: 0..<400, using: &random))
                bytes += words[word] + [32]
            }
            bytes += "\"\(Int.random(in: 0..<100_000, using: &random))\",\n".utf8
        }
        return Array(bytes.prefix(count))
    }

    /// Vertices of a height field: position, normal and texture coordinates as 32-bit floats, 32 bytes each.
    private static func meshes(_ count: Int, _ random: inout SplitMix64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 32)
        var height: Float = 0
        var index = 0
        while bytes.count < count {
            let (x, z) = (Float(index % 256), Float(index / 256))
            height += Float(Int.random(in: -64...64, using: &random)) / 256
            let vertex = [x, height, z, 0, 1, 0, x / 256, (z / 256).truncatingRemainder(dividingBy: 1)]
            for value in vertex { withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 } }
            index += 1
        }
        return Array(bytes.prefix(count))
    }

    /// Blocks as of BC1: two colours that change slowly, and indices of which some come again.
    private static func textures(_ count: Int, _ random: inout SplitMix64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        let patterns = (0..<64).map { _ in UInt32.random(in: 0 ... .max, using: &random) }
        var colour: UInt16 = 0x8410
        while bytes.count < count {
            if Int.random(in: 0..<4, using: &random) == 0 { colour &+= UInt16.random(in: 0...0x0841, using: &random) }
            let isKnown = Int.random(in: 0..<3, using: &random) > 0
            let indices =
                isKnown ? patterns.randomElement(using: &random)! : UInt32.random(in: 0 ... .max, using: &random)
            withUnsafeBytes(of: (colour.littleEndian, (colour &- 0x0841).littleEndian, indices.littleEndian)) {
                bytes += $0
            }
        }
        return Array(bytes.prefix(count))
    }
}

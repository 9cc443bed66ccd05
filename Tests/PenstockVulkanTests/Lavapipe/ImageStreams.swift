import CVulkan
import Glibc
import Penstock
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Texels come into images, and out of them, in every order, format and shape, byte for byte.
    @Suite(.timeLimit(.minutes(5))) struct ImageStreams {
        private let directory = TemporaryDirectory()

        /// An image to be streamed whole.
        struct Picture: Sendable, CustomTestStringConvertible {
            var name: String
            var image: GPUImage.Description
            var testDescription: String { name }

            init(_ name: String, _ image: GPUImage.Description) {
                self.name = name
                self.image = image
            }
        }

        static let rgba8 = VK_FORMAT_R8G8B8A8_UNORM.rawValue
        static let r8 = VK_FORMAT_R8_UNORM.rawValue
        static let bc1 = VK_FORMAT_BC1_RGB_UNORM_BLOCK.rawValue
        static let bc3 = VK_FORMAT_BC3_UNORM_BLOCK.rawValue
        static let bc7 = VK_FORMAT_BC7_UNORM_BLOCK.rawValue

        static let pictures = [
            Picture("RGBA8, 256 × 256", .init(format: rgba8, width: 256, height: 256, mipLevels: 9)),
            Picture("RGBA8, 1 × 1", .init(format: rgba8, width: 1, height: 1)),
            Picture("RGBA8, 37 × 113", .init(format: rgba8, width: 37, height: 113, mipLevels: 7)),
            Picture("RGBA8, line", .init(format: rgba8, width: 300, mipLevels: 9, dimensions: 1)),
            Picture("RGBA8, lines", .init(format: rgba8, width: 65, mipLevels: 7, arrayLayers: 5, dimensions: 1)),
            Picture("RGBA8, array", .init(format: rgba8, width: 60, height: 31, mipLevels: 6, arrayLayers: 7)),
            Picture(
                "RGBA8, cube", .init(format: rgba8, width: 64, height: 64, mipLevels: 7, arrayLayers: 6, isCube: true)),
            Picture(
                "RGBA8, cubes", .init(format: rgba8, width: 16, height: 16, mipLevels: 5, arrayLayers: 12, isCube: true)
            ),
            Picture("RGBA8, volume", .init(format: rgba8, width: 33, height: 20, depth: 17, mipLevels: 6)),
            Picture("R8, 255 × 3", .init(format: r8, width: 255, height: 3, mipLevels: 8)),
            Picture("R8, array", .init(format: r8, width: 13, height: 11, mipLevels: 4, arrayLayers: 3)),
            Picture("R8, volume", .init(format: r8, width: 7, height: 9, depth: 5, mipLevels: 4)),
            Picture("BC1, 256 × 256", .init(format: bc1, width: 256, height: 256, mipLevels: 9)),
            Picture("BC1, 130 × 50", .init(format: bc1, width: 130, height: 50, mipLevels: 8)),
            Picture("BC3, 7 × 5", .init(format: bc3, width: 7, height: 5, mipLevels: 3)),
            Picture("BC3, array", .init(format: bc3, width: 36, height: 20, mipLevels: 6, arrayLayers: 4)),
            Picture("BC7, 1 × 1", .init(format: bc7, width: 1, height: 1)),
            Picture("BC7, 250 × 61", .init(format: bc7, width: 250, height: 61, mipLevels: 8)),
            Picture("BC7, cube", .init(format: bc7, width: 36, height: 36, mipLevels: 6, arrayLayers: 6, isCube: true)),
        ]

        /// More than lands at once.
        static let large = Picture(
            "RGBA8, large", .init(format: rgba8, width: 1000, height: 1000, mipLevels: 10))

        /// What the region holds, as a file gets it and as host memory does.
        private func contents(
            _ region: GPUImage.Region, _ queue: StorageQueue, _ name: String
        ) async throws -> (file: [UInt8], host: [UInt8]) {
            let path = directory["back-\(name)"]
            let file = try await queue.open(path, [.readWrite, .create, .truncate])
            #expect(try await queue.write(region, to: file) == region.count)
            let host = try await queue.allocate(byteCount: region.count)
            var again = region
            again.oldLayout = region.newLayout
            #expect(try await queue.write(again, to: host[...]) == region.count)
            defer { unlink(path.string) }
            return (directory.contents(path), host.bytes)
        }

        @Test(arguments: pictures, [Way.imported, .allocated])
        func wholeImagesTravelInEveryOrder(_ picture: Picture, _ way: Way) async throws {
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let image = try device.makeImage(picture.image)
                    let path = directory.make("image", count: image.byteCount + 100)
                    for caching in [StorageFile.Caching.automatic, .direct] {
                        let file = try await queue.open(path, caching: caching)
                        var layout = GPUImageLayout.undefined
                        for (index, order) in GPUImage.Order.allCases.enumerated() {
                            let offset = index * 33
                            let next = [GPUImageLayout.general, .shaderReadOnly, .transferDestination][index]
                            let region = image.whole(order: order, from: layout, to: next)
                            #expect(region.count == image.byteCount)
                            let count = try await queue.read(from: file, at: UInt64(offset), into: region)
                            #expect(count == image.byteCount, "\(order) \(caching)")
                            let back = try await contents(
                                image.whole(order: order, from: next, to: .transferSource), queue, "image")
                            layout = .transferSource
                            let expected = FilePattern().bytes(offset..<offset + image.byteCount)
                            #expect(back.file == expected, "\(order) \(caching)")
                            #expect(back.host == expected, "\(order) \(caching)")
                        }
                    }
                }
            }
        }

        @Test func imageReadFromHostMemoryIsTheImageOfItsFile() async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    for picture in Self.pictures {
                        let image = try device.makeImage(picture.image)
                        let host = try await queue.allocate(byteCount: image.byteCount)
                        FilePattern(5).fill(host[...], at: 0)
                        #expect(try await queue.read(from: host[...], into: image.whole()) == image.byteCount)
                        let whole = image.whole(from: .shaderReadOnly, to: .shaderReadOnly)
                        let back = try await contents(whole, queue, "host")
                        #expect(back.host == host.bytes && back.file == host.bytes, "\(picture.name)")
                    }
                }
            }
        }

        @Test(arguments: [Way.imported, .allocated], Driver.allCases)
        func imageLargerThanTheStagingMemoryTravelsInPieces(_ way: Way, _ driver: Driver) async throws {
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue(driver.configuration { $0.stagingBytes = 4 << 20 }) { queue in
                    let image = try device.makeImage(
                        .init(format: Self.rgba8, width: 2048, height: 2048, mipLevels: 12))
                    let path = directory.make("large", count: image.byteCount + 1)
                    for caching in [StorageFile.Caching.buffered, .direct] {
                        dropFromCache(path)
                        let file = try await queue.open(path, caching: caching)
                        #expect(try await queue.read(from: file, at: 1, into: image.whole()) == image.byteCount)
                        let whole = image.whole(from: .shaderReadOnly, to: .shaderReadOnly)
                        let back = try await contents(whole, queue, "large")
                        for bytes in [back.file, back.host] {
                            #expect(bytes.withUnsafeBytes { FilePattern().mismatch($0, at: 1) } == nil, "\(caching)")
                        }
                    }
                }
            }
        }

        /// The bytes of a box of blocks as they lie in a tightly packed image of one level and layer.
        private func box(
            of whole: [UInt8], rowBytes: Int, columns: Range<Int>, rows: Range<Int>, block: Int, pitch: Int
        ) -> [UInt8] {
            var bytes: [UInt8] = []
            for row in rows {
                let start = row * rowBytes
                bytes += whole[start + columns.lowerBound * block..<start + columns.upperBound * block]
                if row != rows.upperBound - 1 {
                    bytes += [UInt8](repeating: 0, count: pitch - columns.count * block)
                }
            }
            return bytes
        }

        @Test(arguments: [rgba8, r8, bc1, bc7])
        func boxIsReadWithItsRowPitchAndLeavesTheRestAsItWas(_ format: UInt32) async throws {
            var random = seededOnce("boxes of format \(format)")
            let isCompressed = format == Self.bc1 || format == Self.bc7
            let (unit, block) = (isCompressed ? 4 : 1, [Self.r8: 1, Self.rgba8: 4, Self.bc1: 8][format] ?? 16)
            // In texels; the last block column and row are cut off at the edge.
            let (width, height) = (isCompressed ? 122 : 61, isCompressed ? 75 : 38)
            let columns = (width + unit - 1) / unit
            let rows = (height + unit - 1) / unit
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let image = try device.makeImage(.init(format: format, width: width, height: height))
                    let path = directory.make("boxes", count: 1 << 20)
                    let file = try await queue.open(path)
                    var whole = FilePattern().bytes(0..<image.byteCount)
                    try await queue.read(from: file, into: image.whole(to: .shaderReadOnly))
                    for step in 0..<40 {
                        let left = random.below(columns)
                        let right = left + 1 + random.below(columns - left)
                        let top = random.below(rows)
                        let bottom = top + 1 + random.below(rows - top)
                        let pitch = (right - left) * block + (random.chance(50) ? 0 : random.below(20) * block)
                        var part = GPUImage.Part()
                        (part.x, part.y) = (left * unit, top * unit)
                        part.width = min(right * unit, width) - part.x
                        part.height = min(bottom * unit, height) - part.y
                        part.rowPitch = pitch
                        let region = image.parts([part], from: .shaderReadOnly, to: .shaderReadOnly)
                        let count = (bottom - top - 1) * pitch + (right - left) * block
                        let text = "step \(step), \(part), seed \(random.seed)"
                        #expect(region.count == count, "\(text)")
                        let offset = random.below(100_000)
                        #expect(try await queue.read(from: file, at: UInt64(offset), into: region) == count, "\(text)")
                        let bytes = FilePattern().bytes(offset..<offset + count)
                        for row in top..<bottom {
                            let source = (row - top) * pitch
                            let start = row * columns * block
                            whole.replaceSubrange(
                                start + left * block..<start + right * block,
                                with: bytes[source..<source + (right - left) * block])
                        }
                        let back = try await contents(region, queue, "box")
                        let expected = box(
                            of: whole, rowBytes: columns * block, columns: left..<right, rows: top..<bottom,
                            block: block,
                            pitch: pitch)
                        #expect(back.file == expected && back.host == expected, "\(text)")
                        let all = try await contents(
                            image.whole(from: .shaderReadOnly, to: .shaderReadOnly), queue, "all")
                        #expect(all.host == whole, "\(text)")
                    }
                }
            }
        }

        @Test func severalSubresourcesTravelInOneRequestAndTheOthersKeepTheirTexels() async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let image = try device.makeImage(
                        .init(format: Self.bc7, width: 100, height: 60, mipLevels: 7, arrayLayers: 4))
                    let file = try await queue.open(directory.make("parts", count: 1 << 20))
                    try await queue.read(from: file, into: image.whole(to: .shaderReadOnly))
                    let parts = [
                        GPUImage.Part(mip: 3, layers: 1..<3), GPUImage.Part(mip: 0, layers: 3..<4),
                        GPUImage.Part(mip: 6, layers: 0..<4), GPUImage.Part(mip: 1, layers: 2..<3),
                    ]
                    let region = image.parts(parts, from: .shaderReadOnly, to: .shaderReadOnly)
                    try await queue.read(from: file, at: 500_000, into: region)
                    let back = try await contents(region, queue, "parts")
                    let expected = FilePattern().bytes(500_000..<500_000 + region.count)
                    #expect(back.file == expected && back.host == expected)
                    // Where the first read put them: for each mip all layers.
                    var start = 0
                    for mip in 0..<7 {
                        for layer in 0..<4 {
                            let level = image.level(mip, layer: layer, from: .shaderReadOnly, to: .shaderReadOnly)
                            defer { start += level.count }
                            guard !parts.contains(where: { $0.mip == mip && $0.layers.contains(layer) }) else {
                                continue
                            }
                            let bytes = try await contents(level, queue, "level").host
                            #expect(bytes == FilePattern().bytes(start..<start + level.count), "\(mip) of \(layer)")
                        }
                    }
                }
            }
        }

        @Test func levelsMayLieAtMultiplesAsDirect3DHasThem() async throws {
            // D3D12_TEXTURE_DATA_PITCH_ALIGNMENT and D3D12_TEXTURE_DATA_PLACEMENT_ALIGNMENT.
            let (pitchAlignment, placement) = (256, 512)
            func up(_ number: Int, _ multiple: Int) -> Int { (number + multiple - 1) / multiple * multiple }
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let (width, height, levels) = (100, 61, 7)
                    let image = try device.makeImage(
                        .init(format: Self.rgba8, width: width, height: height, mipLevels: levels))
                    let file = try await queue.open(directory.make("levels", count: 1 << 18))
                    var parts: [GPUImage.Part] = []
                    var rows: [Range<Int>] = []
                    var end = 0
                    for mip in 0..<levels {
                        let rowBytes = max(1, width >> mip) * 4
                        var part = GPUImage.Part(mip: mip)
                        part.rowPitch = up(rowBytes, pitchAlignment)
                        let start = up(end, placement)
                        part.gap = start - end
                        parts.append(part)
                        for row in 0..<max(1, height >> mip) {
                            let first = start + row * part.rowPitch!
                            rows.append(first..<first + rowBytes)
                            end = first + part.rowPitch!
                        }
                    }
                    #expect(parts.contains { $0.gap > 0 })
                    let region = image.parts(parts, from: .undefined, to: .shaderReadOnly)
                    #expect(region.count == rows.last!.upperBound)
                    try await queue.read(from: file, at: 77, into: region)
                    let bytes = FilePattern().bytes(77..<77 + region.count)
                    let all = try await contents(
                        image.whole(from: .shaderReadOnly, to: .shaderReadOnly), queue, "all")
                    #expect(all.host == rows.flatMap { bytes[$0] })
                    // What is nobody's is written as zeros.
                    let back = try await contents(
                        image.parts(parts, from: .shaderReadOnly, to: .shaderReadOnly), queue, "back")
                    var expected = [UInt8](repeating: 0, count: region.count)
                    for row in rows { expected.replaceSubrange(row, with: bytes[row]) }
                    #expect(back.file == expected && back.host == expected)
                }
            }
        }

        @Test func boxOfAVolumeKeepsItsSlices() async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let image = try device.makeImage(.init(format: Self.r8, width: 20, height: 10, depth: 8))
                    let file = try await queue.open(directory.make("volume", count: 10_000))
                    try await queue.read(from: file, into: image.whole(to: .shaderReadOnly))
                    var part = GPUImage.Part()
                    (part.x, part.y, part.z) = (3, 2, 5)
                    (part.width, part.height, part.depth) = (11, 7, 2)
                    part.rowPitch = 17
                    let region = image.parts([part], from: .shaderReadOnly, to: .shaderReadOnly)
                    #expect(region.count == 17 * 7 * 2 - 6)
                    try await queue.read(from: file, at: 5000, into: region)
                    var whole = FilePattern().bytes(0..<1600)
                    for z in 0..<2 {
                        for y in 0..<7 {
                            let source = 5000 + (z * 7 + y) * 17
                            let start = ((z + 5) * 10 + y + 2) * 20 + 3
                            whole.replaceSubrange(start..<start + 11, with: FilePattern().bytes(source..<source + 11))
                        }
                    }
                    let all = try await contents(
                        image.whole(from: .shaderReadOnly, to: .shaderReadOnly), queue, "volume"
                    )
                    .host
                    #expect(all == whole)
                }
            }
        }

        @Test func levelsOfOneImageTravelInRequestsOfTheirOwnAtTheSameTime() async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let image = try device.makeImage(
                        .init(format: Self.rgba8, width: 256, height: 256, mipLevels: 9, arrayLayers: 6, isCube: true))
                    let path = directory.make("levels", count: image.byteCount)
                    for caching in [StorageFile.Caching.automatic, .direct] {
                        let file = try await queue.open(path, caching: caching)
                        var requests: [StorageRequest] = []
                        var start = 0
                        for mip in 0..<9 {
                            for layer in 0..<6 {
                                let level = image.level(mip, layer: layer)
                                requests.append(.read(from: file, at: UInt64(start), into: level))
                                start += level.count
                            }
                        }
                        let results = await queue.perform(requests.shuffled())
                        #expect(results.allSatisfy { $0.value != nil }, "\(results)")
                        let whole = image.whole(from: .shaderReadOnly, to: .shaderReadOnly)
                        let back = try await contents(whole, queue, "levels")
                        #expect(back.host == FilePattern().bytes(0..<image.byteCount), "\(caching)")
                    }
                }
            }
        }

        @Test(arguments: StorageFile.Caching.allCases)
        func fileThatEndsEarlyLeavesWholeRowsAndTheRestUndamaged(_ caching: StorageFile.Caching) async throws {
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let image = try device.makeImage(.init(format: Self.rgba8, width: 100, height: 64))
                    let host = try await queue.allocate(byteCount: image.byteCount)
                    for size in [0, 399, 400, 401, 9999, 25_599] {
                        FilePattern(99).fill(host[...], at: 0)
                        try await queue.read(from: host[...], into: image.whole(to: .shaderReadOnly))
                        let file = try await queue.open(directory.make("short-\(size)", count: size), caching: caching)
                        let moved = try await queue.read(
                            from: file, into: image.whole(from: .shaderReadOnly, to: .shaderReadOnly))
                        #expect(moved == size / 400 * 400, "\(size)")
                        let back = try await contents(
                            image.whole(from: .shaderReadOnly, to: .shaderReadOnly), queue, "short"
                        ).host
                        #expect(Array(back[..<moved]) == FilePattern().bytes(0..<moved), "\(size)")
                        #expect(Array(back[moved...]) == FilePattern(99).bytes(moved..<image.byteCount), "\(size)")
                    }
                }
            }
        }

        @Test func boxesOfOneLevelInTheGeneralLayoutTravelAtTheSameTime() async throws {
            try await withValidatedDevice { device, log in
                try await withStorageQueue { queue in
                    let image = try device.makeImage(.init(format: Self.rgba8, width: 128, height: 128))
                    let file = try await queue.open(directory.make("general", count: image.byteCount))
                    let host = try await queue.allocate(byteCount: image.byteCount)
                    FilePattern(99).fill(host[...], at: 0)
                    try await queue.read(from: host[...], into: image.whole(to: .general))
                    let requests = (0..<32).map { row in
                        var part = GPUImage.Part()
                        part.y = row * 4
                        part.height = 4
                        return StorageRequest.read(
                            from: file, at: UInt64(row * 2048), into: image.parts([part], from: .general, to: .general))
                    }
                    let results = await queue.perform(requests.shuffled())
                    #expect(results.allSatisfy { $0.value == 2048 })
                    // The layer's advice to use another layout than the one that the application wants to stay in.
                    let messages = log.take().filter {
                        !$0.hasPrefix("Validation Performance Warning") || !$0.contains("instead of GENERAL")
                    }
                    #expect(messages.isEmpty, "\(messages)")
                    let back = try await contents(image.whole(from: .general, to: .shaderReadOnly), queue, "general")
                    #expect(back.host == FilePattern().bytes(0..<image.byteCount))
                }
            }
        }
    }
}

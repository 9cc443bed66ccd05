import Glibc
import Penstock
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Bytes come into GPU buffers, and out of them, as they are in the file, on every way, and nothing beside them is touched.
    @Suite(.timeLimit(.minutes(5))) struct BufferStreams {
        private let directory = TemporaryDirectory()

        static let sizes = [0, 1, 4095, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]

        /// Reads a part of the file into the middle of a buffer that holds something else.
        private func read(
            _ queue: StorageQueue, _ file: StorageFile, _ buffer: GPUBuffer, _ count: Int, at offset: Int,
            to start: Int,
            _ text: String
        ) async throws {
            let (before, after) = (max(0, start - 300), min(buffer.count, start + count + 300))
            try await FilePattern(99).fill(buffer[before..<after], at: UInt64(before), queue)
            let slice = buffer[start..<start + count]
            #expect(try await queue.read(from: file, at: UInt64(offset), into: slice) == count, "\(text)")
            #expect(try await FilePattern().matches(slice, at: UInt64(offset), queue), "\(text)")
            let isClean = try await FilePattern(99).matches(buffer[before..<start], at: UInt64(before), queue)
            #expect(isClean, "wrote before the slice: \(text)")
            let isCleanAfter = try await FilePattern(99).matches(
                buffer[start + count..<after], at: UInt64(start + count), queue)
            #expect(isCleanAfter, "wrote behind the slice: \(text)")
        }

        @Test(arguments: Way.allCases, Driver.allCases)
        func fileArrivesWholeAndInPlace(_ way: Way, _ driver: Driver) async throws {
            let path = directory.make("file", count: 3 << 20)
            var random = seededOnce("streams, \(way) \(driver)")
            try await withValidatedDevice(way.configure) { device in
                let buffer = try device.makeBuffer(byteCount: 2 << 20)
                for isCold in [false, true] {
                    try await withStorageQueue(driver.configuration { $0.stagingBytes = 4 << 20 }) { queue in
                        for caching in StorageFile.Caching.allCases {
                            let file = try await queue.open(path, caching: caching)
                            for count in Self.sizes {
                                if isCold { dropFromCache(path) }
                                let (offset, start) = (random.below(1 << 20), random.below((2 << 20) - count + 1))
                                try await read(
                                    queue, file, buffer, count, at: offset, to: start,
                                    "\(caching), cold \(isCold), \(count) at \(offset), into \(start), seed \(random.seed)"
                                )
                            }
                        }
                        way.expect(queue)
                    }
                }
            }
        }

        @Test(arguments: Way.allCases)
        func requestLargerThanTheStagingMemoryTravelsInPieces(_ way: Way) async throws {
            let size = 33 << 20
            let path = directory.make("large", count: size + 1)
            try await withValidatedDevice(way.configure) { device in
                let buffer = try device.makeBuffer(byteCount: size)
                for staging in [4 << 20, 32 << 20] {
                    try await withStorageQueue(Driver.ioUring.configuration { $0.stagingBytes = staging }) { queue in
                        for caching in [StorageFile.Caching.buffered, .direct] {
                            let file = try await queue.open(path, caching: caching)
                            #expect(try await queue.read(from: file, at: 1, into: buffer[...]) == size)
                            #expect(try await FilePattern().matches(buffer[...], at: 1, queue), "\(caching)")
                        }
                    }
                }
            }
        }

        @Test(arguments: Way.allCases, StorageFile.Caching.allCases)
        func fileThatEndsEarlyLeavesTheRestAsItWas(_ way: Way, _ caching: StorageFile.Caching) async throws {
            try await withValidatedDevice(way.configure) { device in
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 3 << 20)
                    for size in [0, 1, 5000, (1 << 20) + 17] {
                        let path = directory.make("short-\(size)", count: size)
                        let file = try await queue.open(path, caching: caching)
                        try await FilePattern(99).fill(buffer[...], queue)
                        #expect(try await queue.read(from: file, into: buffer[1...]) == size)
                        #expect(try await FilePattern().matches(buffer[1..<size + 1], queue), "\(size)")
                        // A direct landing around the page cache may change what is behind the end, as documented.
                        let rest = buffer[(size + 1)...]
                        let isAsItWas = try await FilePattern(99).matches(rest, at: UInt64(size) + 1, queue)
                        #expect(isAsItWas, "stale bytes behind the end of \(size)")
                    }
                }
            }
        }

        @Test(arguments: Way.allCases, Driver.allCases)
        func bufferIsWrittenToFilesAsItIs(_ way: Way, _ driver: Driver) async throws {
            var random = seededOnce("writes, \(way) \(driver)")
            try await withValidatedDevice(way.configure) { device in
                let buffer = try device.makeBuffer(byteCount: 9 << 20)
                try await withStorageQueue(driver.configuration { $0.stagingBytes = 4 << 20 }) { queue in
                    try await FilePattern(7).fill(buffer[...], queue)
                    for caching in StorageFile.Caching.allCases {
                        for count in Self.sizes + [7 << 20] {
                            let name = "written-\(caching)-\(count)"
                            let path = directory[name]
                            let file = try await queue.open(path, [.readWrite, .create], caching: caching)
                            let (start, offset) = (random.below(1 << 20), random.chance(50) ? 0 : random.below(9000))
                            let slice = buffer[start..<start + count]
                            let text = "\(name), from \(start) to \(offset), seed \(random.seed)"
                            #expect(try await queue.write(slice, to: file, at: UInt64(offset)) == count, "\(text)")
                            let contents = directory.contents(path)
                            #expect(contents.count == (count == 0 ? 0 : offset + count), "\(text)")
                            let isRight = contents.dropFirst(offset).withUnsafeBytes {
                                FilePattern(7).mismatch($0, at: UInt64(start)) == nil
                            }
                            #expect(isRight, "\(text)")
                            // And back.
                            let back = buffer[(8 << 20) - 1..<(8 << 20) - 1 + min(count, 1 << 20)]
                            try await queue.read(from: file, at: UInt64(offset), into: back)
                            #expect(try await FilePattern(7).matches(back, at: UInt64(start), queue), "\(text)")
                            try await FilePattern(7).fill(back, at: UInt64((8 << 20) - 1), queue)
                            unlink(path.string)
                        }
                    }
                }
            }
        }

        @Test(arguments: Way.allCases)
        func hostMemoryTravelsThereAndBack(_ way: Way) async throws {
            var random = seededOnce("host memory, \(way)")
            try await withValidatedDevice(way.configure) { device in
                let buffer = try device.makeBuffer(byteCount: 9 << 20)
                try await withStorageQueue(Driver.ioUring.configuration { $0.stagingBytes = 4 << 20 }) { queue in
                    let host = try await queue.allocate(byteCount: 9 << 20)
                    for (index, count) in (Self.sizes + [8 << 20]).enumerated() {
                        let (from, to) = (random.below(1 << 20), random.below(1 << 20))
                        let (source, slice) = (host[from..<from + count], buffer[to..<to + count])
                        FilePattern(UInt64(index)).fill(source, at: 5)
                        #expect(try await queue.read(from: source, into: slice) == count)
                        FilePattern(99).fill(host[...], at: 0)
                        #expect(try await queue.write(slice, to: source) == count)
                        #expect(FilePattern(UInt64(index)).matches(source, at: 5), "\(count), seed \(random.seed)")
                        #expect(FilePattern(99).matches(host[..<from], at: 0), "\(count), seed \(random.seed)")
                        let behind = host[(from + count)...]
                        #expect(FilePattern(99).matches(behind, at: UInt64(from + count)), "seed \(random.seed)")
                    }
                }
            }
        }
    }
}

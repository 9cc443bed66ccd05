import Glibc
import Penstock
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Many requests at a time, on every way: each ends once, with its own bytes in its own place.
    @Suite(.timeLimit(.minutes(5))) struct ManyRequests {
        private let directory = TemporaryDirectory()
        private static let fileSize = 8 << 20

        /// A file on the way to or from a place in the buffer.
        private struct Stretch {
            var offset: Int
            var start: Int
            var count: Int
        }

        /// Stretches that share no byte of the buffer.
        private func stretches(_ number: Int, of bufferSize: Int, _ random: inout SeededRandom) -> [Stretch] {
            let room = bufferSize / number
            return (0..<number).map { index in
                let count = random.chance(5) ? 0 : 1 + random.below(random.chance(50) ? min(room, 300) : room)
                let start = index * room + random.below(room - count + 1)
                return Stretch(offset: random.below(Self.fileSize - count), start: start, count: count)
            }
        }

        private func check(
            _ stretches: [Stretch], _ buffer: GPUBuffer, _ queue: StorageQueue, _ text: String
        ) async throws {
            let host = try await queue.allocate(byteCount: buffer.count)
            try await queue.write(buffer[...], to: host[...])
            for stretch in stretches {
                let slice = host[stretch.start..<stretch.start + stretch.count]
                #expect(FilePattern().matches(slice, at: UInt64(stretch.offset)), "\(stretch), \(text)")
            }
        }

        @Test(arguments: Way.allCases, Driver.allCases)
        func batchOfAThousandMixedRequestsEndsWithAThousandResults(_ way: Way, _ driver: Driver) async throws {
            let path = directory.make("file", count: Self.fileSize)
            var random = seededOnce("batch, \(way) \(driver)")
            try await withValidatedDevice(way.configure) { device in
                let buffer = try device.makeBuffer(byteCount: 8 << 20)
                let outgoing = try device.makeBuffer(byteCount: 1 << 20)
                try await withStorageQueue(driver.configuration { $0.stagingBytes = 4 << 20 }) { queue in
                    try await FilePattern(3).fill(outgoing[...], queue)
                    let host = try await queue.allocate(byteCount: 1 << 20)
                    let written = directory["written"]
                    let output = try await queue.open(written, [.readWrite, .create, .truncate])
                    var files: [StorageFile] = []
                    for caching in StorageFile.Caching.allCases {
                        files.append(try await queue.open(path, caching: caching))
                    }
                    for isCold in [false, true] {
                        if isCold { dropFromCache(path) }
                        let places = stretches(1000, of: buffer.count, &random)
                        var requests: [StorageRequest] = []
                        var expected: [Int?] = []
                        for (index, place) in places.enumerated() {
                            let file = files[random.below(files.count)]
                            switch index % 10 {
                            case 0..<8:
                                let slice = buffer[place.start..<place.start + place.count]
                                requests.append(.read(from: file, at: UInt64(place.offset), into: slice))
                                expected.append(place.count)
                            case 8 where index % 20 == 8:
                                let start = index * 1000
                                requests.append(.write(outgoing[start..<start + 1000], to: output, at: UInt64(start)))
                                expected.append(1000)
                            case 8:
                                requests.append(.read(from: file, at: UInt64(index), into: host[index..<index + 1]))
                                expected.append(1)
                            default:
                                // Outside of its buffer: it alone fails.
                                requests.append(.read(from: file, into: buffer[0..<buffer.count + 1]))
                                expected.append(nil)
                            }
                        }
                        let results = await queue.perform(requests)
                        let text = "\(way), cold \(isCold), seed \(random.seed)"
                        for (index, result) in results.enumerated() where result.value != expected[index] {
                            Issue.record("\(index): \(result), not \(expected[index] as Any); \(text)")
                        }
                        #expect(results.count == 1000)
                        let outside = results.enumerated().filter { expected[$0.offset] == nil }
                        #expect(outside.allSatisfy { $0.element.code == .invalidRange })
                        let read = places.enumerated().filter { $0.offset % 10 < 8 }.map(\.element)
                        try await check(read, buffer, queue, text)
                        let contents = directory.contents(written)
                        for start in stride(from: 8000, to: 1_000_000, by: 20_000) {
                            let isRight = contents[start..<start + 1000].withUnsafeBytes {
                                FilePattern(3).mismatch($0, at: UInt64(start)) == nil
                            }
                            #expect(isRight, "written at \(start), \(text)")
                        }
                    }
                }
            }
        }

        @Test(arguments: Way.allCases)
        func completionsDeliverEachRequestOnce(_ way: Way) async throws {
            let path = directory.make("file", count: Self.fileSize)
            var random = seededOnce("completions, \(way)")
            try await withValidatedDevice(way.configure) { device in
                let buffer = try device.makeBuffer(byteCount: 4 << 20)
                try await withStorageQueue { queue in
                    let file = try await queue.open(path)
                    for isCold in [false, true] {
                        if isCold { dropFromCache(path) }
                        let places = stretches(300, of: buffer.count, &random)
                        let requests = places.enumerated().map { index, place in
                            StorageRequest.read(
                                from: file, at: UInt64(place.offset),
                                into: buffer[place.start..<place.start + place.count],
                                tag: UInt64(index))
                        }
                        var seen = Set<Int>()
                        for await completion in queue.completions(of: requests) {
                            #expect(seen.insert(completion.index).inserted, "\(completion.index) twice")
                            #expect(completion.tag == UInt64(completion.index))
                            #expect(completion.result.value == places[completion.index].count, "seed \(random.seed)")
                        }
                        #expect(seen.count == 300)
                        try await check(places, buffer, queue, "cold \(isCold), seed \(random.seed)")
                    }
                }
            }
        }

        @Test(arguments: Way.allCases, Driver.allCases)
        func tasksOnTwoQueuesShareOneDevice(_ way: Way, _ driver: Driver) async throws {
            let path = directory.make("file", count: Self.fileSize)
            var random = seededOnce("tasks, \(way) \(driver)")
            try await withValidatedDevice(way.configure) { device in
                let buffer = try device.makeBuffer(byteCount: 8 << 20)
                let first = try StorageQueue(driver.configuration())
                let second = try StorageQueue(driver.ringOnly { $0.name = "second" })
                let files = [try await first.open(path), try await second.open(path)]
                for isCold in [false, true] {
                    if isCold { dropFromCache(path) }
                    let places = stretches(256, of: buffer.count, &random)
                    let tasks = places.enumerated().map { index, place in
                        let slice = buffer[place.start..<place.start + place.count]
                        let (queue, file) = (index % 2 == 0 ? first : second, files[index % 2])
                        // Half of each queue's tasks run on its own thread.
                        let executor: (any TaskExecutor)? = index % 4 < 2 ? queue.executor : nil
                        return Task(executorPreference: executor) {
                            try await queue.read(from: file, at: UInt64(place.offset), into: slice)
                        }
                    }
                    for (task, place) in zip(tasks, places) {
                        let count = try await task.value
                        #expect(count == place.count, "seed \(random.seed)")
                    }
                    try await check(places, buffer, first, "cold \(isCold), seed \(random.seed)")
                }
                // One queue's end is not the other's.
                await first.shutdown()
                let again = buffer[0..<1 << 20]
                #expect(try await second.read(from: files[1], into: again) == 1 << 20)
                #expect(try await FilePattern().matches(again, second))
                await second.shutdown()
            }
        }

        @Test(arguments: Way.allCases)
        func tasksThatPreferTheQueuesThreadReadWithoutLeavingIt(_ way: Way) async throws {
            let path = directory.make("file", count: Self.fileSize)
            try await withValidatedDevice(way.configure) { device in
                let buffer = try device.makeBuffer(byteCount: 1 << 20)
                try await withStorageQueue { queue in
                    let file = try await queue.open(path)
                    try await withTaskExecutorPreference(queue.executor) {
                        for round in 0..<64 {
                            let slice = buffer[round * 1000..<(round + 1) * 1000]
                            let count = try await queue.read(from: file, at: UInt64(round * 1000), into: slice)
                            #expect(count == 1000)
                        }
                    }
                    #expect(try await FilePattern().matches(buffer[0..<64_000], queue))
                }
            }
        }
    }
}

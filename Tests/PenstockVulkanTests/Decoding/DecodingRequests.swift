import FakeVulkan
import Penstock
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// Pages in files arrive decoded in GPU buffers, on every way, and nothing beside them is touched.
    @Suite(.timeLimit(.minutes(5))) struct DecodingRequests {
        private let directory = TemporaryDirectory()

        @Test(arguments: Way.allCases, Driver.allCases)
        func pagesArriveDecoded(_ way: Way, _ driver: Driver) async throws {
            var random = seededOnce("decoded pages, \(way) \(driver)")
            let packed = try PackedFile(100, &random)
            let start = random.below(5000)
            try packed.write(directory["packed"], at: start)
            try await withValidatedDevice(way.configure) { device in
                #expect(device.canDecode(SinkDecoding.gdeflatePage) && !device.canDecode(1))
                let buffer = try device.makeBuffer(byteCount: packed.decoded.count + 13)
                let slice = buffer[13...]
                for caching in StorageFile.Caching.allCases {
                    // Pieces of the default size, and of a page each.
                    for pieceSize in [1 << 20, 4096] {
                        let configuration = driver.configuration { $0.pieceSize = pieceSize }
                        try await withStorageQueue(configuration) { queue in
                            let file = try await queue.open(directory["packed"], caching: caching)
                            try await slice.fill(PackedFile.untouched, queue)
                            let count = try await slice.decode(packed.decoding, from: file, at: start, queue)
                            #expect(count == packed.bytes.count)
                            let isSame = try await slice.bytes(queue) == packed.decoded
                            #expect(isSame, "\(caching), pieces of \(pieceSize), seed \(random.seed)")
                        }
                    }
                }
            }
        }

        @Test func aDamagedPageFailsItsRequestAlone() async throws {
            var random = seededOnce("a damaged page")
            let packed = try PackedFile(40, &random)
            try packed.write(directory["good"], at: 0)
            let damaged = random.below(packed.pages.count)
            var bad = packed
            // A block of the reserved type.
            bad.bytes[packed.pages[damaged].start] |= 6
            try bad.write(directory["bad"], at: 0)
            try await withValidatedDevice { device in
                try await withStorageQueue { queue in
                    let (good, bad) = (
                        try await queue.open(directory["good"]), try await queue.open(directory["bad"])
                    )
                    let count = packed.decoded.count
                    let buffer = try device.makeBuffer(byteCount: 6 * count)
                    try await buffer[...].fill(PackedFile.untouched, queue)
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for index in 0..<6 {
                            group.addTask {
                                let slice = buffer[index * count..<(index + 1) * count]
                                guard index == 3 else {
                                    let moved = try await slice.decode(packed.decoding, from: good, at: 0, queue)
                                    #expect(moved == packed.bytes.count)
                                    return
                                }
                                await expectFailure(.malformedData) {
                                    try await slice.decode(packed.decoding, from: bad, at: 0, queue)
                                }
                            }
                        }
                        try await group.waitForAll()
                    }
                    let bytes = try await buffer[...].bytes(queue)
                    for index in 0..<6 where index != 3 {
                        let isSame = bytes[index * count..<(index + 1) * count].elementsEqual(packed.decoded)
                        #expect(isSame, "request \(index), seed \(random.seed)")
                    }
                    // Of the failed one, nothing but its own pages.
                    var last = 3 * count
                    for page in packed.pages {
                        let gap = last..<3 * count + page.destination
                        #expect(bytes[gap].allSatisfy { $0 == PackedFile.untouched }, "seed \(random.seed)")
                        last = gap.upperBound + page.decodedCount
                    }
                }
            }
        }

        @Test func aFileThatEndsEarlyGivesItsWholePages() async throws {
            var random = seededOnce("a short file")
            let packed = try PackedFile(30, &random)
            let page = packed.pages[20]
            var short = packed
            short.bytes.removeLast(packed.bytes.count - (page.start + page.count - 1))
            try short.write(directory["short"], at: 0)
            try await withValidatedDevice { device in
                for driver in [Driver.ioUring.configuration(), Driver.threads.ringOnly()] {
                    try await withStorageQueue(driver) { queue in
                        let file = try await queue.open(directory["short"])
                        let slice = try device.makeBuffer(byteCount: packed.decoded.count)[...]
                        try await slice.fill(PackedFile.untouched, queue)
                        let last = packed.pages[19]
                        let moved = try await slice.decode(packed.decoding, from: file, at: 0, queue)
                        #expect(moved == last.start + last.count)
                        let end = last.destination + last.decodedCount
                        var expected = packed.decoded
                        for index in end..<expected.count { expected[index] = PackedFile.untouched }
                        #expect(try await slice.bytes(queue) == expected, "seed \(random.seed)")
                    }
                }
            }
        }

        @Test func moreThanThereIsRoomForAtOnce() async throws {
            var random = seededOnce("many decoding requests")
            let packed = try PackedFile(50, &random)
            try packed.write(directory["packed"], at: 0)
            let semaphores = 4
            try await withValidatedDevice { device in
                let raw = RawDevice(device)
                let timelines = (0..<semaphores).map { _ in raw.makeTimeline() }
                defer { timelines.forEach(raw.destroy) }
                try await withStorageQueue { queue in
                    let file = try await queue.open(directory["packed"])
                    let count = packed.decoded.count
                    let buffer = try device.makeBuffer(byteCount: 24 * count)
                    try await buffer[...].fill(PackedFile.untouched, queue)
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for index in 0..<24 {
                            group.addTask {
                                let slice = buffer[index * count..<(index + 1) * count]
                                // Some tell the application.
                                let signal = index < semaphores ? [timelines[index].at(7)] : []
                                let moved = try await slice.decode(
                                    packed.decoding, from: file, at: 0, queue, .init(signal: signal))
                                #expect(moved == packed.bytes.count)
                                if index < semaphores { #expect(raw.value(of: timelines[index]) == 7) }
                            }
                        }
                        try await group.waitForAll()
                    }
                    let bytes = try await buffer[...].bytes(queue)
                    for index in 0..<24 {
                        let isSame = bytes[index * count..<(index + 1) * count].elementsEqual(packed.decoded)
                        #expect(isSame, "request \(index), seed \(random.seed)")
                    }
                }
            }
        }

        @Test func cancelledAndShutDownAtAnyTime() async throws {
            var random = seededOnce("cancelled decoding")
            let packed = try PackedFile(120, &random)
            try packed.write(directory["packed"], at: 0)
            try await withValidatedDevice { device in
                for round in 0..<6 {
                    let queue = try StorageQueue(Driver.allCases[round % 2].ringOnly())
                    let file = try await queue.open(directory["packed"])
                    let count = packed.decoded.count
                    let buffer = try device.makeBuffer(byteCount: 8 * count)
                    let tasks = (0..<8).map { index in
                        Task {
                            let slice = buffer[index * count..<(index + 1) * count]
                            do throws(StorageError) {
                                _ = try await slice.decode(packed.decoding, from: file, at: 0, queue)
                            } catch {
                                #expect([.cancelled, .queueClosed].contains(error.code), "\(error)")
                            }
                        }
                    }
                    for _ in 0..<random.below(40) { await Task.yield() }
                    for task in tasks where random.chance(50) { task.cancel() }
                    await queue.shutdown()
                    for task in tasks { await task.value }
                }
            }
        }

        @Test func aDeviceWithoutShadersRefuses() async throws {
            var random = seededOnce("no shader")
            let packed = try PackedFile(3, &random)
            try packed.write(directory["packed"], at: 0)
            try await FakeMachine.run { machine in
                #expect(!machine.device.canDecode(SinkDecoding.gdeflatePage))
                let file = try await machine.queue.open(directory["packed"])
                let slice = try machine.device.makeBuffer(byteCount: packed.decoded.count)[...]
                await expectFailure(.notSupported) {
                    try await slice.decode(packed.decoding, from: file, at: 0, machine.queue)
                }
            }
        }
    }
}

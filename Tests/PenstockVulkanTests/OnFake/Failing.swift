import CVulkan
import FakeVulkan
import Penstock
import PenstockTesting
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Files that end early, disks that fail and fill up, and requests that make no sense.
    @Suite(.timeLimit(.minutes(5))) struct FailingOnFake {
        private let scratch = Scratch()

        /// Staging memory holds what it was last used for; none of that may go to the device.
        @Test(arguments: [1, 4096, 70_000, 1 << 20, (2 << 20) + 12_345], [0, 1 << 20])
        func shortFileNeverCopiesStaleStagingBytes(_ there: Int, _ inlineLimit: Int) async throws {
            let long = scratch.make("long", count: 4 << 20, salt: 9)
            let path = scratch.make("in", count: there + 50)
            for caching in [StorageFile.Caching.buffered, .direct] {
                try await FakeMachine.run(queue: { $0.inlineLimit = inlineLimit }) { machine in
                    let queue = machine.queue
                    let file = try await queue.open(path, caching: caching)
                    let other = try await queue.open(long)
                    let asked = there + (1 << 20) + 777
                    let buffer = try await machine.buffer(asked, mark: 0x44)
                    let stale = try machine.device.makeBuffer(byteCount: 4 << 20)
                    try await queue.read(from: other, into: stale[...])
                    #expect(try await queue.read(from: file, at: 50, into: buffer[...]) == there)
                    let bytes = machine.contents(buffer)
                    let isThere = Salted().matches(bytes[..<there], at: 50)
                    #expect(isThere)
                    #expect(isFilled(bytes[there...], with: 0x44))
                    let results = await queue.perform([.read(from: file, at: UInt64(there), into: buffer[1000..<2000])])
                    #expect(results[0].success == 50)
                    #expect(try await queue.read(from: file, at: UInt64(there) + 50, into: buffer[...]) == 0)
                    #expect(try await queue.read(from: file, at: 1 << 40, into: buffer[...]) == 0)
                }
            }
        }

        /// Whole rows of texel blocks, and the final layout all the same.
        @Test(arguments: [0, 1, 255, 256, 100_000, (1 << 20) + 99, 3_000_000])
        func shortFileFillsWholeRowsOfAnImage(_ there: Int) async throws {
            let path = scratch.make("in", count: there)
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let host = try await queue.allocate(byteCount: 4 << 20)
                host.withUnsafeMutableBytes { for index in $0.indices where index % 4096 == 0 { $0[index] = 0x55 } }
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 256, height: 4096))
                try await queue.read(from: host[...], into: image.whole(to: .general))
                let before = machine.fake.contents(of: image.handle, mip: 0)
                let count = try await queue.read(from: file, into: image.whole(from: .general, to: .transferSource))
                #expect(count == there / 1024 * 1024)
                let after = machine.fake.contents(of: image.handle, mip: 0)
                let isThere = Salted().matches(after[..<count])
                #expect(isThere)
                let isOld = after[count...].elementsEqual(before[count...])
                #expect(isOld)
                #expect(machine.layout(image) == .transferSource)
            }
        }

        @Test func readErrorInTheMiddleOfAnImageLeavesItInItsFinalLayout() async throws {
            let disk = SimulatedDisk(seed: 5)
            disk["in"] = Salted().bytes(0..<8 << 20)
            for bad in [0, 2 << 20, 5 << 20, (8 << 20) - 1] as [UInt64] {
                let path = FilePath("bad at \(bad)")
                disk[path] = disk["in"]
                disk.fail(path, in: bad..<bad + 1)
                try await FakeMachine.run(disk: disk) { machine in
                    let queue = machine.queue
                    let file = try await queue.open(path)
                    let image = try machine.device.makeImage(
                        .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1024, height: 2048))
                    let error = await expectError(.io) {
                        try await queue.read(from: file, into: image.whole(to: .general))
                    }
                    #expect(error?.path == path)
                    // Of the first piece there was nothing; then the image may be as it was.
                    #expect(machine.layout(image) == .general || (bad == 0 && machine.layout(image) == .undefined))
                    #expect(try await machine.stagingInUse == 0)
                }
            }
        }

        @Test(arguments: [100_000, 3_000_000])
        func fullDiskEndsWritesWithNoSpace(_ size: Int) async throws {
            let disk = SimulatedDisk(seed: 6, capacity: size / 2)
            try await FakeMachine.run(.nonCoherent, disk: disk) { machine in
                let queue = machine.queue
                let buffer = try await machine.buffer(size, mark: 0x66)
                let output = try await queue.open("out", [.readWrite, .create])
                let error = await expectError(.noSpace) { try await queue.write(buffer[...], to: output) }
                #expect(error?.errno == .noSpace)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1000, height: size / 4000))
                let host = try await queue.allocate(byteCount: image.byteCount)
                try await queue.read(from: host[...], into: image.whole(to: .general))
                await expectError(.noSpace) {
                    try await queue.write(image.whole(from: .general, to: .transferDestination), to: output)
                }
                #expect(machine.layout(image) == .transferDestination)
                let results = await queue.perform([.write(buffer[...], to: output)])
                #expect(results[0].failureCode == .noSpace)
                #expect(try await machine.stagingInUse == 0)
            }
        }

        @Test func nothingIsMovedByRequestsOfNoBytes() async throws {
            let path = scratch.make("in", count: 100)
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let file = try await queue.open(path, .readWrite)
                let buffer = try await machine.buffer(100, mark: 0x77)
                let host = try await queue.allocate(byteCount: 100)
                let submits = machine.submitCount
                #expect(try await queue.read(from: file, into: buffer[50..<50]) == 0)
                #expect(try await queue.read(from: file, into: buffer[100..<100]) == 0)
                #expect(try await queue.write(buffer[7..<7], to: file) == 0)
                #expect(try await queue.read(from: host[..<0], into: buffer[..<0]) == 0)
                #expect(try await queue.write(buffer[..<0], to: host[..<0]) == 0)
                #expect(machine.submitCount == submits)
                #expect(isFilled(machine.contents(buffer), with: 0x77))
            }
        }

        @Test func whatLiesOutsideIsRefusedBeforeVulkanIsCalled() async throws {
            let path = scratch.make("in", count: 100)
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let file = try await queue.open(path, .readWrite)
                let buffer = try await machine.buffer(100, mark: 0x77)
                let host = try await queue.allocate(byteCount: 100)
                let submits = machine.submitCount
                let outside: [Range<Int>] = [
                    -1..<10, 0..<101, 100..<101, 101..<101, -5 ..< -5, Int.max - 1..<Int.max, Int.min..<0, 0..<Int.max,
                    (1 << 31) - 1..<(1 << 31) + 7, 1 << 32..<(1 << 32) + 5,
                ]
                for range in outside {
                    await expectError(.invalidRange) { try await queue.read(from: file, into: buffer[range]) }
                    await expectError(.invalidRange) { try await queue.write(buffer[range], to: file) }
                    await expectError(.invalidRange) { try await queue.submit(from: file, into: buffer[range]) }
                    await expectError(.invalidRange) { try await queue.read(from: host[...], into: buffer[range]) }
                    await expectError(.invalidRange) { try await queue.write(buffer[range], to: host[...]) }
                    let results = await queue.perform([
                        .read(from: file, into: buffer[range]), .write(buffer[range], to: file),
                        .read(from: file, into: buffer[..<0]),
                    ])
                    #expect(results.map(\.failureCode) == [.invalidRange, .invalidRange, nil])
                }
                await expectError(.invalidRange) {
                    try await queue.read(from: file, at: .max, into: buffer[...])
                }
                await expectError(.invalidRange) {
                    try await queue.read(from: file, at: UInt64(Int64.max) - 50, into: buffer[...])
                }
                #expect(machine.submitCount == submits)
                #expect(isFilled(machine.contents(buffer), with: 0x77))
            }
        }

        /// To bring an image from the undefined layout into another drops what it holds.
        @Test func imageOfNoLayoutIsNotWritten() async throws {
            let path = scratch.make("in", count: 1024)
            try await FakeMachine.run { machine in
                let queue = machine.queue
                let file = try await queue.open(path, .readWrite)
                let host = try await queue.allocate(byteCount: 1024)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 16, height: 16))
                try await queue.read(from: file, into: image.whole(to: .general))
                let submits = machine.submitCount
                let region = image.whole(to: .general)
                await expectError(.invalidArgument) { try await queue.write(region, to: file) }
                await expectError(.invalidArgument) { try await queue.write(region, to: host[...]) }
                let results = await queue.perform([.write(region, to: file)])
                #expect(results.map(\.failureCode) == [.invalidArgument])
                #expect(machine.submitCount == submits)
                try await queue.write(image.whole(from: .general, to: .general), to: host[...])
                #expect(host.withUnsafeBytes { Salted().matches($0) })
            }
        }

        /// A buffer of 5 GiB, none of which is there; only its numbers are.
        @Test func offsetsBeyondFourGigabytesReachVulkanWhole() async throws {
            let path = scratch.make("in", count: 10_000)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let owned = try machine.device.makeBuffer(byteCount: 10_000)
                let huge = machine.device.adopt(buffer: owned.handle, byteCount: 5 << 30)
                let start = (4 << 30) + 123
                let task = Task { try await queue.read(from: file, into: huge[start..<start + 10_000]) }
                // The fake knows the buffer's true size, and complains of exactly these numbers.
                try await machine.submissions(atLeast: 1)
                let complaints = machine.fake.takeViolations()
                #expect(!complaints.isEmpty && complaints.allSatisfy { $0.contains("\(start)") }, "\(complaints)")
                machine.fake.loseDevice()
                await expectError(.deviceLost) { try await task.value }
                _ = machine.fake.takeViolations()
            }
        }

        /// One level is more than a slab once direct I/O has read whole blocks around it.
        @Test func levelThatFillsASlabCanBeReadDirectlyAtAnyOffset() async throws {
            let disk = SimulatedDisk(seed: 8)
            disk["in"] = Salted().bytes(0..<(2 << 20) + 4096)
            try await FakeMachine.run(
                .transferQueue(granularity: (0, 0, 0)), disk: disk, queue: { $0.stagingBytes = 4 << 20 }
            ) { machine in
                let queue = machine.queue
                let file = try await queue.open("in", caching: .direct)
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1024, height: 512, arrayLayers: 3))
                for (layer, offset) in [0, 100, 1024].enumerated() {
                    #expect(
                        try await queue.read(
                            from: file, at: UInt64(offset), into: image.level(0, layer: layer, to: .general)) == 2 << 20
                    )
                    let isThere = Salted().matches(
                        machine.fake.contents(of: image.handle, mip: 0, layer: layer), at: offset)
                    #expect(isThere)
                }
            }
        }
    }
}

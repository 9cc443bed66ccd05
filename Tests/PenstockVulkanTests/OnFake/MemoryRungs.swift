import CVulkan
import FakeVulkan
import Penstock
import PenstockVulkan
import Testing

/// The kinds of memory that machines have, and how staging and landing get by with each.
enum MemoryRung: String, CaseIterable, CustomTestStringConvertible {
    case imported, nonCoherent, importRefused, importRefusedNonCoherent, importRefusedLater
    case importRefusedLaterNonCoherent, noExtension
    case rebar, rebarNonCoherent, smallWindow, unified, writeCombinedOnly

    var testDescription: String { rawValue }

    var configuration: FakeVulkan.Configuration {
        var configuration: FakeVulkan.Configuration
        switch self {
        case .imported: configuration = .init()
        case .nonCoherent: configuration = .nonCoherent
        case .importRefused:
            configuration = .with { $0.importLimit = 0 }
        case .importRefusedNonCoherent:
            configuration = .nonCoherent
            configuration.importLimit = 0
        case .importRefusedLater:
            configuration = .with { $0.importLimit = 1 }
        case .importRefusedLaterNonCoherent:
            configuration = .with {
                $0.memoryTypes = [.deviceLocal, .hostCachedNonCoherent, .hostCached]
                $0.bufferMemoryTypes = 0b011
                $0.importLimit = 1
            }
        case .noExtension:
            configuration = .with { $0.hasExternalMemoryHost = false }
        case .rebar: configuration = .rebar
        case .rebarNonCoherent:
            configuration = .with {
                $0.memoryTypes = [
                    .deviceLocal, .hostCached,
                    .init(heap: 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT),
                ]
            }
        case .smallWindow: configuration = .smallWindow
        case .unified: configuration = .unified
        case .writeCombinedOnly:
            configuration = .with {
                $0.hasExternalMemoryHost = false
                $0.memoryTypes = [.deviceLocal, .writeCombined]
            }
        }
        return configuration
    }

    /// Whether slabs are imported from the start.
    var imports: Bool {
        switch self {
        case .imported, .importRefusedLater, .rebar, .rebarNonCoherent, .smallWindow, .unified: true
        default: false
        }
    }
}

extension DevicesInTurn {
    @Suite(.timeLimit(.minutes(5))) struct MemoryRungs {
        private let scratch = Scratch()

        /// Files to buffers and back, host memory to buffers and back, more than one slab at a time, at odd offsets.
        @Test(arguments: MemoryRung.allCases, [true, false])
        func bytesArriveOnEveryRung(_ rung: MemoryRung, _ landsDirectly: Bool) async throws {
            let count = 5_000_003
            let path = scratch.make("in", count: count)
            try await FakeMachine.run(
                rung.configuration, adopting: { adoption, _ in adoption.landsDirectly = landsDirectly }
            ) {
                machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let output = try await queue.open(scratch.file("out"), [.readWrite, .create])
                let buffer = try machine.device.makeBuffer(byteCount: count)
                let sizes = [1, 4095, 4096, 70_001, 1 << 20, count]
                try await withThrowingTaskGroup(of: Void.self) { group in
                    var start = 0
                    for size in sizes {
                        let range = start..<min(count, start + size)
                        group.addTask {
                            let moved = try await queue.read(
                                from: file, at: UInt64(range.lowerBound), into: buffer[range])
                            #expect(moved == range.count)
                        }
                        start = range.upperBound
                    }
                    try await group.waitForAll()
                }
                let isThere = Salted().matches(machine.contents(buffer))
                #expect(isThere)

                #expect(try await queue.write(buffer[..<count], to: output) == count)
                let host = try await queue.allocate(byteCount: count - 11)
                try await queue.write(buffer[11...], to: host[...])
                #expect(host.withUnsafeBytes { Salted().matches($0, at: 11) })
                let other = try machine.device.makeBuffer(byteCount: count)
                try await queue.read(from: host[...], into: other[11...])
                let isThereToo = Salted().matches(machine.contents(other)[11...], at: 11)
                #expect(isThereToo)

                let staging = queue.capabilities.features.first { $0.name == "GPU staging" }
                #expect(staging?.isAvailable == rung.imports)
                try await output.close()
            }
            let isWritten = Salted().matches(scratch.contents("out"))
            #expect(isWritten)
        }

        /// What lies between an image's rows is zero in the file, whatever the staging memory has held before.
        @Test(arguments: MemoryRung.allCases)
        func bytesBetweenRowsAreZeroOnEveryRung(_ rung: MemoryRung) async throws {
            let path = scratch.make("in", count: 8 << 20)
            try await FakeMachine.run(rung.configuration) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let output = try await queue.open(scratch.file("rows"), [.readWrite, .create])
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 64, height: 64))
                let count = try await queue.read(from: file, into: image.whole(to: .general))
                // All of the staging memory has been used.
                let buffer = try machine.device.makeBuffer(byteCount: 8 << 20)
                try await queue.read(from: file, into: buffer[...])

                var part = GPUImage.Part()
                part.rowPitch = 1000
                let region = image.parts([part], from: .general, to: .general)
                #expect(try await queue.write(region, to: output) == region.count)
                let host = try await queue.allocate(byteCount: region.count)
                try await queue.write(region, to: host[...])
                let (texels, written) = (Salted().bytes(0..<count), scratch.contents("rows"))
                var expected = [UInt8](repeating: 0, count: region.count)
                for row in 0..<64 {
                    expected.replaceSubrange(row * 1000..<row * 1000 + 256, with: texels[row * 256..<row * 256 + 256])
                }
                let isWritten = written == expected
                #expect(isWritten, "the file")
                let isThere = host.withUnsafeBytes { $0.elementsEqual(expected) }
                #expect(isThere, "host memory")
                try await output.close()
            }
        }

        /// Bytes that the host has written to memory that must be flushed are there for the device, whichever way they came.
        @Test(arguments: [MemoryRung.rebarNonCoherent, .rebar, .unified])
        func directLandingShowsTheDeviceWhatEveryCallRead(_ rung: MemoryRung) async throws {
            let count = 300_000
            let path = scratch.make("in", count: count)
            for inlineLimit in [0, 4096, 1 << 20] {
                try await FakeMachine.run(rung.configuration, queue: { $0.inlineLimit = inlineLimit }) { machine in
                    let queue = machine.queue
                    let file = try await queue.open(path)
                    let buffers = try (0..<3).map { _ in try machine.device.makeBuffer(byteCount: count) }
                    try #require(buffers[0].storage.mapped != nil, "the fake has memory that host and device share")
                    let submits = machine.submitCount

                    #expect(try await queue.read(from: file, at: 100, into: buffers[0][100...]) == count - 100)
                    let requests = { (buffer: GPUBuffer) in
                        [
                            StorageRequest.read(from: file, at: 100, into: buffer[100..<5000]),
                            .read(from: file, at: 5000, into: buffer[5000...]),
                        ]
                    }
                    for result in await queue.perform(requests(buffers[1])) { #expect(result.success != nil) }
                    for await completion in queue.completions(of: requests(buffers[2])) {
                        #expect(completion.result.success != nil)
                    }
                    for buffer in buffers {
                        let isThere = Salted().matches(machine.contents(buffer)[100...], at: 100)
                        #expect(isThere)
                    }
                    #expect(machine.submitCount == submits, "nothing was staged")
                }
            }
        }

        /// A slab's import is refused later on: the requests that land there go through memory beside it.
        @Test func importRefusedInFlightCostsNoRequest() async throws {
            let count = 300_000
            let path = scratch.make("in", count: 64 * count)
            try await FakeMachine.run(.with { $0.importLimit = 2 }) { machine in
                let file = try await machine.queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 64 * count)
                let results = await machine.queue.perform(
                    (0..<64).map {
                        .read(from: file, at: UInt64($0 * count), into: buffer[$0 * count..<($0 + 1) * count])
                    })
                #expect(results.allSatisfy { $0.success == count })
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<64 {
                        group.addTask {
                            let range = index * count..<(index + 1) * count
                            try await machine.queue.read(from: file, at: UInt64(range.lowerBound), into: buffer[range])
                        }
                    }
                    try await group.waitForAll()
                }
                let isThere = Salted().matches(machine.contents(buffer))
                #expect(isThere)
            }
        }
    }
}

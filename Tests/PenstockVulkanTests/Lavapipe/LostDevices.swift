import CVulkan
import Penstock
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// A lost device fails every request once, for good, and takes nothing else with it.
    ///
    /// lavapipe loses its device when the host signals a timeline below its value. That is not allowed, so it is done where
    /// nobody validates.
    @Suite(.timeLimit(.minutes(5))) struct LostDevices {
        private let directory = TemporaryDirectory()

        private func lose(_ device: GPUDevice) {
            let raw = RawDevice(device)
            let timeline = raw.makeTimeline(at: 10)
            _ = raw.signal(timeline.at(1))
            #expect(raw.value(of: timeline) == nil, "lavapipe did not lose its device")
            raw.destroy(timeline)
        }

        @Test func pagesAreNotDecodedOnALostDevice() async throws {
            var random = seededOnce("pages for a lost device")
            let packed = try PackedFile(20, &random)
            try packed.write(directory["packed"], at: 0)
            let device = try GPUDevice()
            try await withStorageQueue { queue in
                let file = try await queue.open(directory["packed"])
                let slice = try device.makeBuffer(byteCount: packed.decoded.count)[...]
                let moved = try await slice.decode(packed.decoding, from: file, at: 0, queue)
                #expect(moved == packed.bytes.count)
                lose(device)
                await expectFailure(.deviceLost) {
                    try await slice.decode(packed.decoding, from: file, at: 0, queue)
                }
                #expect(!device.canDecode(SinkDecoding.gdeflatePage))
            }
        }

        @Test(arguments: [Way.imported, .allocated], Driver.allCases)
        func everyRequestEndsOnceAndSaysThatTheDeviceIsLost(_ way: Way, _ driver: Driver) async throws {
            let path = directory.make("file", count: 4 << 20)
            weak var lives: GPUDevice?
            do {
                var configuration = GPUDevice.Configuration()
                way.configure(&configuration)
                let device = try GPUDevice(configuration)
                lives = device
                try await withStorageQueue(driver.configuration()) { queue in
                    let buffer = try device.makeBuffer(byteCount: 4 << 20)
                    let file = try await queue.open(path)
                    #expect(try await queue.read(from: file, into: buffer[...]) == 4 << 20)
                    // Some are on their way when it happens.
                    let early = (0..<64).map { index in
                        Task {
                            try await queue.read(
                                from: file, at: UInt64(index), into: buffer[index * 65_536..<(index + 1) * 65_536])
                        }
                    }
                    lose(device)
                    for task in early {
                        do { #expect(try await task.value == 65_536) } catch let error as StorageError {
                            #expect(error.code == .deviceLost, "\(error)")
                        }
                    }
                    for _ in 0..<3 {
                        let error = await expectFailure(.deviceLost) {
                            try await queue.read(from: file, into: buffer[0..<100])
                        }
                        #expect(error?.message.isEmpty == false)
                    }
                    #expect(device.isLost)
                    let results = await queue.perform(
                        (0..<200).map { .read(from: file, at: UInt64($0), into: buffer[$0 * 100..<($0 + 1) * 100]) })
                    #expect(results.count == 200 && results.allSatisfy { $0.code == .deviceLost })
                    let host = try await queue.allocate(byteCount: 4096)
                    await expectFailure(.deviceLost) { try await queue.write(buffer[0..<4096], to: host[...]) }
                    await expectFailure(.deviceLost) { try await queue.read(from: host[...], into: buffer[0..<4096]) }
                    await expectFailure(.deviceLost) { try await queue.submit(from: file, into: buffer[...]) }
                    // Host memory has nothing to do with it.
                    #expect(try await queue.read(from: file, into: host[...]) == 4096)
                    #expect(FilePattern().matches(host))
                }
                // A new queue cannot be made for it; a new device can.
                try await withStorageQueue(driver.configuration()) { queue in
                    let buffer = try device.makeBuffer(byteCount: 4096)
                    let file = try await queue.open(path)
                    await expectFailure(.deviceLost) { try await queue.read(from: file, into: buffer[...]) }
                    let next = try GPUDevice(configuration)
                    let good = try next.makeBuffer(byteCount: 4096)
                    #expect(try await queue.read(from: file, into: good[...]) == 4096)
                    #expect(try await FilePattern().matches(good[...], queue))
                }
            }
            await yields { lives == nil }
            #expect(lives == nil, "something keeps the lost device alive")
        }
    }
}

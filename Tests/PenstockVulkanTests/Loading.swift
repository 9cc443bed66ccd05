import Penstock
import PenstockVulkan
import SystemPackage
import Testing

@Suite struct Loading {
    @Test func roundTrip() async throws {
        var configuration = GPUDevice.Configuration()
        configuration.validation = { print("VALIDATION", $0) }
        configuration.landsDirectly = false
        let device = try GPUDevice(configuration)
        let queue = try StorageQueue()
        let file = try await queue.open("/usr/bin/perl")
        let size = Int(try await file.size())
        let buffer = try device.makeBuffer(byteCount: size)
        let count = try await queue.read(from: file, into: buffer[...])
        #expect(count == size)
        let plain = try await queue.load("/usr/bin/perl")
        let back = try await queue.allocate(byteCount: size)
        try await queue.write(buffer[...], to: back[...])
        let same = back.withUnsafeBytes { a in plain.withUnsafeBytes { b in a.elementsEqual(b) } }
        #expect(same)
        print(queue.capabilities)
        await queue.shutdown()
    }
}

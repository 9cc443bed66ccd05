import Penstock
import PenstockVulkan
import TestSupport
import Testing

/// The ways on which bytes come into a GPU's memory.
enum Way: String, CaseIterable, CustomTestStringConvertible {
    /// Straight from the file.
    case direct
    /// Through staging memory that Vulkan has imported.
    case imported
    /// Through staging memory that Vulkan has allocated.
    case allocated

    var testDescription: String { rawValue }

    func configure(_ configuration: inout GPUDevice.Configuration) {
        configuration.landsDirectly = self == .direct
        configuration.importsHostMemory = self != .allocated
    }

    /// Whether the queue says so too.
    func expect(_ queue: StorageQueue, sourceLocation: SourceLocation = #_sourceLocation) {
        let capabilities = queue.capabilities
        #expect(
            capabilities["GPU"]?.rung.contains("llvmpipe") == true, "\(capabilities)", sourceLocation: sourceLocation)
        #expect(capabilities["GPU staging"]?.isAvailable == (self != .allocated), sourceLocation: sourceLocation)
        #expect(capabilities["GPU landing"]?.isAvailable == (self == .direct), sourceLocation: sourceLocation)
    }
}

extension FilePattern {
    /// Fills a slice of a GPU buffer with the pattern, by way of host memory.
    func fill(_ slice: GPUBuffer.Slice, at offset: UInt64 = 0, _ queue: StorageQueue) async throws {
        guard slice.count > 0 else { return }
        let host = try await queue.allocate(byteCount: slice.count)
        fill(host[...], at: offset)
        #expect(try await queue.read(from: host[...], into: slice) == slice.count)
    }

    /// Whether a slice of a GPU buffer holds the pattern, as the GPU sees it.
    func matches(_ slice: GPUBuffer.Slice, at offset: UInt64 = 0, _ queue: StorageQueue) async throws -> Bool {
        guard slice.count > 0 else { return true }
        let host = try await queue.allocate(byteCount: slice.count)
        #expect(try await queue.write(slice, to: host[...]) == slice.count)
        return matches(host, at: offset)
    }
}

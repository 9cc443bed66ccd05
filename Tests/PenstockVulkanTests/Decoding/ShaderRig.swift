import CVulkan
import Penstock
import PenstockCompression
import TestSupport
import Testing

@testable import PenstockVulkan

/// A page to decode, and to what size.
struct EncodedPage: Sendable {
    var bytes: [UInt8]
    var count: Int

    /// What the decoder on the CPU makes of it; nil: it refuses.
    var decodedOnCPU: [UInt8]? {
        var decoded = [UInt8](repeating: 0, count: count)
        var span = decoded.mutableSpan
        var destination = span.mutableBytes
        do throws(CodecError) {
            try GDeflate(framing: .page).decode(bytes.span.bytes, into: &destination)
            return decoded
        } catch {
            return nil
        }
    }
}

extension EncodedPage {
    /// The bytes encoded.
    init(_ bytes: [UInt8], level: Int) throws {
        let codec = GDeflate(level: level, framing: .page)
        var encoded = [UInt8](repeating: 0, count: codec.bound(of: bytes.count))
        var span = encoded.mutableSpan
        var destination = span.mutableBytes
        let size = try codec.encode(bytes.span.bytes, into: &destination)
        self.init(bytes: Array(encoded.prefix(size)), count: bytes.count)
    }
}

/// The device's decoders by themselves: pages in host memory, one dispatch after another.
final class ShaderRig {
    private let gpu: GPUDevice
    private let raw: RawDevice
    private let pipeline: DecodePipeline
    private let slot: DecodeSlot
    private let source: RawDevice.Buffer
    private let destination: RawDevice.Buffer
    private let commands: RawDevice.Commands
    private let timeline: RawDevice.Timeline
    private var value: UInt64 = 0
    private(set) var dispatches = 0
    /// Pages that the shader has given up, of which it said nothing.
    private(set) var unfinished = 0
    /// Pages that the driver has decoded.
    private(set) var decompressed = 0
    /// Of the batch's pages: where its status is; nil: nowhere, since the driver decodes it.
    private var statuses: [Int?] = []

    /// Room for a page that is stored, at every alignment.
    private static let encodedStride = SinkDecoding.pageSize + 1024
    static let canary: UInt8 = 0xC5

    /// - Parameter pages: For one dispatch, at most.
    init(_ gpu: GPUDevice, pages: Int = 512) throws {
        self.gpu = gpu
        raw = RawDevice(gpu)
        let compute = try #require(gpu.functions.compute)
        pipeline = try DecodePipeline(gpu.device, compute)
        let capacity = DecodeSlot.Capacity(pages: pages, encodedBytes: pages * Self.encodedStride)
        slot = try DecodeSlot(gpu, pipeline, compute, capacity)
        source = raw.makeBuffer(Self.encodedStride * pages)
        destination = raw.makeBuffer((SinkDecoding.pageSize + 16) * pages)
        commands = raw.makeCommands()
        timeline = raw.makeTimeline()
    }

    func destroy() {
        raw.destroy(timeline)
        raw.destroy(commands)
        raw.destroy(destination)
        raw.destroy(source)
        slot.destroy()
        pipeline.destroy()
    }

    /// Decodes the pages, with a few bytes between them on both sides, and fails the test if one of those has changed.
    ///
    /// - Parameter isVerified: Whether the page of this number is said to be sound.
    /// - Returns: Each page's bytes; nil: the shader refuses it.
    func decode(_ pages: [EncodedPage], isVerified: (Int) -> Bool = { _ in false }) throws -> [[UInt8]?] {
        var results: [[UInt8]?] = []
        var next = 0
        while next < pages.count {
            var batch = DecodeBatch(slot)
            let first = next
            statuses = []
            while next < pages.count, batch.hasRoom(pages: 1, encodedBytes: pages[next].bytes.count) {
                add(pages[next], &batch, at: next - first, isVerified(next))
                next += 1
            }
            try run(&batch)
            for index in first..<next { results.append(result(pages[index], index - first)) }
        }
        return results
    }

    /// Where the page is decoded to: each behind 1...7 bytes that nothing may change, at every alignment.
    private func start(_ index: Int) -> Int { index * (SinkDecoding.pageSize + 16) + 1 + index % 7 }

    private func add(_ page: EncodedPage, _ batch: inout DecodeBatch, at index: Int, _ isVerified: Bool) {
        let encoded = index * Self.encodedStride + index % 5
        UnsafeMutableRawBufferPointer(rebasing: source.bytes[encoded...]).copyBytes(from: page.bytes)
        let around = (start(index) - 1 - index % 7)..<min(start(index) + page.count + 16, destination.bytes.count)
        for byte in around { destination.bytes[byte] = Self.canary }
        let status = batch.shaderPageCount
        batch.add(
            from: source.handle, UInt64(encoded), encodedBytes: page.bytes.count, to: destination.handle,
            UInt64(start(index)), decodedBytes: page.count, isVerified: isVerified)
        statuses.append(batch.shaderPageCount == status ? nil : status)
    }

    private func run(_ batch: inout DecodeBatch) throws {
        raw.begin(commands)
        batch.record(into: commands.buffer, pipeline, gpu.functions, try #require(gpu.functions.compute))
        raw.barrier(commands)
        raw.end(commands)
        value += 1
        #expect(raw.submit(commands, signal: [timeline.at(value)]) == VK_SUCCESS)
        // The first time, lavapipe compiles the shader, which takes seconds, on a busy machine many.
        try #require(raw.wait(for: timeline.at(value), 120_000_000_000) == VK_SUCCESS, "the shader does not end")
        dispatches += 1
    }

    private func result(_ page: EncodedPage, _ index: Int) -> [UInt8]? {
        let start = start(index)
        let before = destination.bytes[(start - 1 - index % 7)..<start]
        let after = destination.bytes[(start + page.count)..<min(start + page.count + 8, destination.bytes.count)]
        let isClean = before.allSatisfy { $0 == Self.canary } && after.allSatisfy { $0 == Self.canary }
        #expect(isClean, "page \(index) of \(page.count) bytes has changed what is beside it")
        guard let place = statuses[index] else {
            decompressed += 1
            return Array(destination.bytes[start..<start + page.count])
        }
        let status = slot.control.mapped.load(
            fromByteOffset: slot.statusesInControl + 4 * place, as: UInt32.self)
        switch DecodePipeline.Status(rawValue: status) {
        case .decoded: return Array(destination.bytes[start..<start + page.count])
        case .malformed, .truncated, .sizeMismatch: return nil
        case .unfinished:
            unfinished += 1
            return nil
        case Optional.none, .some(.none):
            Issue.record("page \(index) has the status \(status)")
            return nil
        }
    }
}

/// Calls `body` with the shader on a device of its own, whose validation layer is to say nothing.
func withShader(_ body: (ShaderRig) throws -> Void) async throws {
    try await withValidatedDevice { device in
        let rig = try ShaderRig(device)
        defer { rig.destroy() }
        try body(rig)
    }
}

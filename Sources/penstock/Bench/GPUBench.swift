import CBaselines
import Glibc
import Penstock
import PenstockVulkan

/// The GPU that `penstock bench gpu` measures on: one device, one destination buffer, used by all sides in turn.
final class GPUBench: @unchecked Sendable {  // the baselines' object is used by one case at a time
    /// Lands in memory that the host sees, where there is some.
    let direct: GPUDevice
    /// The same device, adopted, with direct landing off.
    let staged: GPUDevice
    let destination: GPUBuffer
    /// The same buffer, of ``staged``.
    let stagedDestination: GPUBuffer
    let baselines: OpaquePointer

    static let destinationBytes = 1 << 30

    init() throws {
        direct = try GPUDevice()
        var adoption = GPUDevice.Adoption(
            instance: direct.instance, physicalDevice: direct.physicalDevice, device: direct.device,
            queue: direct.queue, queueFamily: direct.queueFamily)
        adoption.landsDirectly = false
        if direct.canImport { adoption.enabled.insert(.externalMemoryHost) }
        staged = try GPUDevice(adopting: adoption)
        destination = try direct.makeBuffer(byteCount: Self.destinationBytes)
        stagedDestination = staged.adopt(buffer: destination.handle, byteCount: destination.count)
        var handles = gpu_baseline_device()
        handles.get_instance_proc_addr = unsafeBitCast(try VulkanLoader.open(), to: UnsafeMutableRawPointer.self)
        handles.instance = UnsafeMutableRawPointer(direct.instance)
        handles.physical_device = UnsafeMutableRawPointer(direct.physicalDevice)
        handles.device = UnsafeMutableRawPointer(direct.device)
        handles.queue = UnsafeMutableRawPointer(direct.queue)
        handles.queue_family = direct.queueFamily
        var opened: OpaquePointer?
        let status = gpu_baseline_open(&handles, &opened)
        guard status == 0, let opened else { throw BenchError("the GPU baselines cannot be set up", errno: -status) }
        baselines = opened
        // Fresh memory is several times slower.
        if let mapped = destination.mappedBytes {
            UnsafeMutableRawBufferPointer(start: mapped, count: destination.count).initializeMemory(
                as: UInt8.self, repeating: 1)
        }
    }

    deinit { gpu_baseline_close(baselines) }
}

/// The uploads of a case: which blocks of which file; block i lands at i times its size, round and round.
final class GPUUploads: Sendable {
    let gpu: GPUBench
    let descriptor: BenchDescriptor
    let file: BenchFile
    let blockSize: Int
    let offsets: [UInt64]

    init(_ gpu: GPUBench, _ file: BenchFile, blockSize: Int, count: Int, seed: UInt64) throws {
        self.gpu = gpu
        self.file = file
        self.blockSize = blockSize
        descriptor = try BenchDescriptor(path: file.path, direct: false)
        offsets = file.randomOffsets(count: count, blockSize: blockSize, seed: seed)
    }

    var bytes: UInt64 { UInt64(offsets.count * blockSize) }

    /// Where request `index` lands.
    func place(of index: Int) -> Int { index * blockSize % GPUBench.destinationBytes }

    /// Checks the last blocks that were written, where the host sees them.
    func verify() throws(BenchError) {
        guard let mapped = gpu.destination.mappedBytes else { return }
        for index in max(0, offsets.count - 16)..<offsets.count {
            let block = UnsafeRawBufferPointer(start: mapped + place(of: index), count: blockSize)
            guard BenchContent.matches(block, at: offsets[index]) else {
                throw BenchError("the GPU holds wrong bytes for offset \(offsets[index])")
            }
        }
    }

    fileprivate func run(
        _ name: String,
        _ baseline: (UnsafePointer<gpu_baseline_uploads>, UnsafeMutablePointer<baseline_result>) -> CInt
    ) throws(BenchError) -> Sample {
        var result = baseline_result()
        let status = offsets.withUnsafeBufferPointer { offsets in
            var uploads = gpu_baseline_uploads(
                fd: descriptor.number, block_size: UInt32(blockSize), offsets: offsets.baseAddress,
                count: offsets.count, destination: UnsafeMutableRawPointer(gpu.destination.handle),
                destination_size: UInt64(GPUBench.destinationBytes))
            return baseline(&uploads, &result)
        }
        return try Sample(result, of: name, status: status)
    }
}

extension Contestant {
    /// One submission and one wait for each request, as a per-request design does it.
    static func submitEach(_ uploads: GPUUploads, latency: Bool = false) -> Contestant {
        Contestant("(a) submit each") {
            var times = [UInt64](repeating: 0, count: uploads.offsets.count)
            var sample = try uploads.run("submit each") {
                gpu_baseline_submit_each(uploads.gpu.baselines, $0, &times, $1)
            }
            if latency { sample.measuredNanoseconds = times.map { Double($0) }.median }
            try uploads.verify()
            return sample
        }
    }

    /// The hand-written uploader: segments of staging, a batched copy each. In the shape that is best on a CPU device.
    static func stagingRing(_ uploads: GPUUploads) -> Contestant {
        Contestant("(b) staging ring") {
            let sample = try uploads.run("staging ring") {
                gpu_baseline_staging_ring(
                    uploads.gpu.baselines, $0,
                    gpu_baseline_ring_shape(segments: 4, segment_requests: 256, segment_bytes: 1 << 20), $1)
            }
            try uploads.verify()
            return sample
        }
    }

    /// One thread, straight into the destination.
    static func preadMapped(_ uploads: GPUUploads) -> Contestant {
        Contestant("(c) pread, mapped") {
            guard let mapped = uploads.gpu.destination.mappedBytes else {
                throw BenchError("the host does not see the destination")
            }
            let sample = try uploads.run("pread mapped") { gpu_baseline_pread_mapped($0, mapped, $1) }
            try uploads.verify()
            return sample
        }
    }

    /// The bytes moved once, from memory to memory.
    static func memcpy(_ uploads: GPUUploads, from source: AlignedBuffers, to target: AlignedBuffers) -> Contestant {
        Contestant("(d) memcpy") {
            try uploads.run("memcpy") {
                gpu_baseline_memcpy($0, source.pointers[0], UInt64(source.size), target.pointers[0], $1)
            }
        }
    }
}

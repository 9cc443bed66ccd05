import CPenstock
import Penstock
import PenstockC

/// The C interface's side of a read case: what a host in C would do, from here.
final class HostReads: Sendable {
    private let runtime: penstock_runtime
    private let queue: penstock_queue
    // Enqueued by one thread at a time; the memory they name is `memory`'s.
    private nonisolated(unsafe) let requests: UnsafeMutableBufferPointer<penstock_request>
    private let memory: AlignedBuffers
    private let offsets: [UInt64]
    private let blockSize: Int

    init(_ file: BenchFile, blockSize: Int, offsets: [UInt64], depth: Int) throws {
        var options = penstock_runtime_options()
        options.struct_size = UInt32(MemoryLayout.size(ofValue: options))
        options.driver = UInt32(PENSTOCK_DRIVER_IO_URING)
        var runtime = penstock_runtime()
        var queue = penstock_queue()
        var handle = penstock_file()
        try Self.check(penstock_runtime_create(&options, &runtime))
        try Self.check(penstock_queue_create(runtime, nil, &queue))
        try Self.check(
            penstock_file_open(
                runtime, file.path, UInt32(PENSTOCK_ACCESS_READ), UInt32(PENSTOCK_CACHING_BUFFERED), &handle))
        memory = try AlignedBuffers(count: depth, size: blockSize)
        requests = .allocate(capacity: depth)
        for index in 0..<depth {
            var request = penstock_request()
            request.struct_size = UInt32(MemoryLayout<penstock_request>.size)
            request.file = handle
            request.size = UInt64(blockSize)
            request.memory = memory.pointers[index]
            // Called, and its cost counted; what failed is in the queue's record.
            request.callback = { _ in }
            requests.initializeElement(at: index, to: request)
        }
        self.runtime = runtime
        self.queue = queue
        self.offsets = offsets
        self.blockSize = blockSize
    }

    deinit {
        _ = penstock_runtime_close(runtime)
        requests.deallocate()
    }

    private static func check(_ result: penstock_result) throws(BenchError) {
        guard result == 0 else { throw BenchError("C interface: \(String(cString: penstock_result_text(result)))") }
    }

    /// Batches of as many requests as there are buffers, each waited for.
    func batches() async throws -> Sample {
        let sample = try await Sample.measure(operations: offsets.count, bytes: UInt64(offsets.count * blockSize)) {
            for start in stride(from: 0, to: offsets.count, by: requests.count) {
                let count = min(requests.count, offsets.count - start)
                for index in 0..<count { requests[index].offset = offsets[start + index] }
                try Self.check(penstock_enqueue(queue, requests.baseAddress, count, nil))
                try Self.check(penstock_wait(queue, .max))
            }
        }
        var errors = penstock_error_record()
        errors.struct_size = UInt32(MemoryLayout.size(ofValue: errors))
        try Self.check(penstock_take_errors(queue, &errors))
        guard errors.count == 0 else { throw BenchError("\(errors.count) reads through the C interface have failed") }
        return sample
    }
}

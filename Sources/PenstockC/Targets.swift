import CPenstock
import Penstock
import PenstockVulkan

/// What a request's bytes go to or come from.
enum Target {
    case memory(UnsafeMutableRawPointer, Int)
    case slice(GPUBuffer.Slice)
    case region(GPUImage.Region)
}

extension penstock_request {
    /// Whether it names memory, a buffer or an image, and no two of them.
    var hasOneTarget: Bool { (memory != nil ? 1 : 0) + (buffer.id != 0 ? 1 : 0) + (image.id != 0 ? 1 : 0) == 1 }

    /// Where its bytes go or come from: so many.
    func target(size: UInt64) throws -> Target {
        guard let count = Int(exactly: size) else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        guard count > 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        if let memory {
            try checkMemory(memory, count)
            return .memory(memory, count)
        }
        if image.id != 0 { return .region(try region(count: count)) }
        guard let hosted = Handles.buffers.find(buffer.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        guard let start = Int(exactly: buffer_offset), start <= hosted.buffer.count,
            count <= hosted.buffer.count - start
        else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        return .slice(hosted.buffer[start..<start + count])
    }
}

/// Memory does not wrap around.
func checkMemory(_ memory: UnsafeRawPointer, _ count: Int) throws {
    guard !UInt(bitPattern: memory).addingReportingOverflow(UInt(count)).overflow else {
        throw Refusal(PENSTOCK_ERROR_INVALID_RANGE)
    }
}

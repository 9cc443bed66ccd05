import Glibc
import SystemPackage

/// Reading as it has always been done: `open`, `read`, `read`, …, `close`, on a thread that blocks. It shares no code with
/// the queue, so that they cannot be wrong in the same way.
enum PlainRead {
    /// Why a file could not be read.
    enum Failure: Error, CustomStringConvertible {
        case system(Errno)
        case cancelled

        var isCancelled: Bool { if case .cancelled = self { true } else { false } }

        var description: String {
            switch self {
            case .system(let errno): errno.description
            case .cancelled: "cancelled"
            }
        }
    }

    private static let blockSize = 256 << 10

    /// The checksum of a file's bytes.
    static func checksum(of path: FilePath) async throws(Failure) -> Checksum {
        let result = await withTaskExecutorPreference(BlockingThreads.shared) { () -> Result<Checksum, Failure> in
            do throws(Failure) { return .success(try readToEnd(path)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    private static func readToEnd(_ path: FilePath) throws(Failure) -> Checksum {
        let descriptor = path.withPlatformString { open($0, O_RDONLY | O_CLOEXEC | O_NOCTTY) }
        guard descriptor >= 0 else { throw .system(Errno(rawValue: errno)) }
        defer { close(descriptor) }
        return try withUnsafeTemporaryAllocation(byteCount: blockSize, alignment: 4096) { block throws(Failure) in
            var checksum = Checksum()
            while true {
                guard !Task.isCancelled else { throw .cancelled }
                let count = read(descriptor, block.baseAddress, block.count)
                switch count {
                case 0: return checksum
                case 1...: checksum.update(UnsafeRawBufferPointer(rebasing: block[..<count]))
                default: if errno != EINTR { throw .system(Errno(rawValue: errno)) }
                }
            }
        }
    }
}

import Glibc

/// Why a benchmark cannot run, and what to do about it.
struct BenchError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    /// `operation` failed with `code`, an errno.
    init(_ operation: String, errno code: CInt) {
        description = "\(operation): \(String(cString: strerror(code)))"
    }
}

import Glibc
import PenstockCompression

/// Somebody else's GDeflate, from a library that exports libdeflate's functions with `gdeflate` in their names (nvCOMP's
/// `libnvcomp_cpu.so` does): single pages, and one thread at a time.
final class OracleCodec: Codec, @unchecked Sendable {  // one contestant runs at a time
    private struct Page {
        var data: UnsafeMutableRawPointer?
        var size: Int
    }

    private typealias AllocateCompressor = @convention(c) (Int32) -> OpaquePointer?
    private typealias AllocateDecompressor = @convention(c) () -> OpaquePointer?
    private typealias Free = @convention(c) (OpaquePointer?) -> Void
    private typealias Compress =
        @convention(c) (OpaquePointer?, UnsafeRawPointer?, Int, UnsafeMutableRawPointer?, Int) -> Int
    private typealias Decompress =
        @convention(c) (
            OpaquePointer?, UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer?, Int, UnsafeMutablePointer<Int>?
        ) -> Int32

    private let compressor: OpaquePointer
    private let decompressor: OpaquePointer
    private let freeCompressor: Free
    private let freeDecompressor: Free
    private let compress: Compress
    private let decompress: Decompress

    let identifier: CodecIdentifier = "orcl"
    let chunkSize = 65_536

    init(_ path: String, level: Int) throws {
        guard let library = dlopen(path, RTLD_NOW) else { throw BenchError(String(cString: dlerror())) }
        func function<Function>(_ name: String, _: Function.Type) throws -> Function {
            guard let address = dlsym(library, "libdeflate_" + name) else {
                throw BenchError("\(path) has no libdeflate_\(name)")
            }
            return unsafeBitCast(address, to: Function.self)
        }
        compress = try function("gdeflate_compress", Compress.self)
        decompress = try function("gdeflate_decompress", Decompress.self)
        freeCompressor = try function("free_gdeflate_compressor", Free.self)
        freeDecompressor = try function("free_gdeflate_decompressor", Free.self)
        guard let compressor = try function("alloc_gdeflate_compressor", AllocateCompressor.self)(Int32(level)),
            let decompressor = try function("alloc_gdeflate_decompressor", AllocateDecompressor.self)()
        else { throw BenchError("\(path): no memory") }
        self.compressor = compressor
        self.decompressor = decompressor
    }

    deinit {
        freeCompressor(compressor)
        freeDecompressor(decompressor)
    }

    func bound(of byteCount: Int) -> Int { 65_536 + 868 }

    func encode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) -> Int {
        var page = destination.withUnsafeMutableBytes { Page(data: $0.baseAddress, size: $0.count) }
        let size = source.withUnsafeBytes { compress(compressor, $0.baseAddress, $0.count, &page, 1) }
        guard size > 0 else { throw CodecError(.destinationTooSmall, "the library has refused the page") }
        return size
    }

    func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
        var page = source.withUnsafeBytes {
            Page(data: UnsafeMutableRawPointer(mutating: $0.baseAddress), size: $0.count)
        }
        var size = 0
        let result = destination.withUnsafeMutableBytes {
            decompress(decompressor, &page, 1, $0.baseAddress, $0.count, &size)
        }
        guard result == 0, size == destination.byteCount else {
            throw CodecError(.malformed, "the library has refused the page")
        }
    }
}

// The header gives the functions their names and documentation.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase

import CPenstock
import Glibc
import Penstock
import SystemPackage

/// What a `penstock_file` stands for: closed when nobody has it any more, neither the host, nor a request that reads it in
/// several steps.
final class HostedFile: Sendable {
    let file: StorageFile
    let runtime: Runtime

    init(_ file: StorageFile, of runtime: Runtime) {
        self.file = file
        self.runtime = runtime
    }

    deinit { file.closeLater() }
}

private func caching(_ number: UInt32) throws -> StorageFile.Caching {
    switch Int(number) {
    case Int(PENSTOCK_CACHING_AUTOMATIC): .automatic
    case Int(PENSTOCK_CACHING_BUFFERED): .buffered
    case Int(PENSTOCK_CACHING_DIRECT): .direct
    case Int(PENSTOCK_CACHING_UNCACHED): .uncached
    default: throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
    }
}

private func access(_ bits: UInt32) throws -> StorageFile.Access {
    let all: [(Int, StorageFile.Access)] = [
        (Int(PENSTOCK_ACCESS_READ), .readOnly), (Int(PENSTOCK_ACCESS_WRITE), .writeOnly),
        (Int(PENSTOCK_ACCESS_CREATE), .create), (Int(PENSTOCK_ACCESS_EXCLUSIVE), .exclusive),
        (Int(PENSTOCK_ACCESS_TRUNCATE), .truncate),
    ]
    guard Int(bits) & ~all.reduce(0, { $0 | $1.0 }) == 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
    return all.reduce(into: []) { access, option in
        if Int(bits) & option.0 != 0 { access.formUnion(option.1) }
    }
}

@c @implementation
public func penstock_file_open(
    _ runtime: penstock_runtime, _ path: UnsafePointer<CChar>!, _ access: UInt32, _ caching: UInt32,
    _ file: UnsafeMutablePointer<penstock_file>!
) -> penstock_result {
    answer {
        let runtime = try Runtime.find(runtime)
        guard let path, let file else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        let (access, caching) = (try PenstockC.access(access), try PenstockC.caching(caching))
        let opened = try runtime.logging {
            try runtime.queue.openBlocking(FilePath(platformString: path), access, caching: caching)
        }
        file.pointee = penstock_file(id: try runtime.adopt(HostedFile(opened, of: runtime)))
    }
}

@c @implementation
public func penstock_file_adopt(
    _ runtime: penstock_runtime, _ descriptor: Int32, _ flags: UInt32, _ caching: UInt32,
    _ file: UnsafeMutablePointer<penstock_file>!
) -> penstock_result {
    answer {
        let runtime = try Runtime.find(runtime)
        guard let file, Int(flags) & ~Int(PENSTOCK_ADOPT_AND_CLOSE) == 0 else {
            throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        let caching = try PenstockC.caching(caching)
        let adopted = try runtime.logging { try runtime.queue.adoptFile(descriptor: descriptor, caching: caching) }
        file.pointee = penstock_file(id: try runtime.adopt(HostedFile(adopted, of: runtime)))
        // The file has a descriptor of its own.
        if Int(flags) & Int(PENSTOCK_ADOPT_AND_CLOSE) != 0 { close(descriptor) }
    }
}

@c @implementation
public func penstock_file_size(_ file: penstock_file, _ size: UnsafeMutablePointer<UInt64>!) -> penstock_result {
    answer {
        guard let file = Handles.files.find(file.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        guard let size else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        size.pointee = try file.file.sizeBlocking()
    }
}

@c @implementation
public func penstock_file_close(_ file: penstock_file) -> penstock_result {
    answer {
        guard let hosted = Handles.files.remove(file.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        hosted.runtime.forget(file: file.id)
    }
}

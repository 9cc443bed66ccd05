// The header gives the functions their names and documentation.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase

import CPenstock
import Penstock

/// Why a call is refused, where it is not for a reason of the storage's.
struct Refusal: Error {
    let result: penstock_result

    init(_ constant: some BinaryInteger) { result = code(constant) }
}

/// A constant of the header's as the type that results have; C gives constants the type `int`.
func code(_ constant: some BinaryInteger) -> penstock_result { penstock_result(truncatingIfNeeded: constant) }

/// Runs the body of a function of the interface, and turns what it throws into its result.
func answer(_ body: () throws -> Void) -> penstock_result {
    do {
        try body()
        return code(PENSTOCK_OK)
    } catch let refusal as Refusal {
        return refusal.result
    } catch let error as StorageError {
        return result(of: error.code.kind)
    } catch {
        return code(PENSTOCK_ERROR_OTHER)
    }
}

/// The stable number of a kind of failure.
func result(of kind: StorageError.Code.Kind) -> penstock_result {
    switch kind {
    case .none: code(PENSTOCK_OK)
    case .cancelled: code(PENSTOCK_ERROR_CANCELLED)
    case .deadlineExceeded: code(PENSTOCK_ERROR_DEADLINE_EXCEEDED)
    case .queueClosed: code(PENSTOCK_ERROR_QUEUE_CLOSED)
    case .fileClosed: code(PENSTOCK_ERROR_FILE_CLOSED)
    case .foreignFile: code(PENSTOCK_ERROR_FOREIGN_FILE)
    case .invalidRange: code(PENSTOCK_ERROR_INVALID_RANGE)
    case .invalidArgument: code(PENSTOCK_ERROR_INVALID_ARGUMENT)
    case .notFound: code(PENSTOCK_ERROR_NOT_FOUND)
    case .permissionDenied: code(PENSTOCK_ERROR_PERMISSION_DENIED)
    case .alreadyExists: code(PENSTOCK_ERROR_ALREADY_EXISTS)
    case .isDirectory: code(PENSTOCK_ERROR_IS_DIRECTORY)
    case .unsupportedFileType: code(PENSTOCK_ERROR_UNSUPPORTED_FILE_TYPE)
    case .notSupported: code(PENSTOCK_ERROR_NOT_SUPPORTED)
    case .badDescriptor: code(PENSTOCK_ERROR_BAD_DESCRIPTOR)
    case .badAddress: code(PENSTOCK_ERROR_BAD_ADDRESS)
    case .tooManyOpenFiles: code(PENSTOCK_ERROR_TOO_MANY_OPEN_FILES)
    case .noSpace: code(PENSTOCK_ERROR_NO_SPACE)
    case .fileTooLarge: code(PENSTOCK_ERROR_FILE_TOO_LARGE)
    case .readOnly: code(PENSTOCK_ERROR_READ_ONLY)
    case .outOfMemory: code(PENSTOCK_ERROR_OUT_OF_MEMORY)
    case .memoryLimit: code(PENSTOCK_ERROR_MEMORY_LIMIT)
    case .busy: code(PENSTOCK_ERROR_BUSY)
    case .io: code(PENSTOCK_ERROR_IO)
    case .unavailable: code(PENSTOCK_ERROR_UNAVAILABLE)
    case .other: code(PENSTOCK_ERROR_OTHER)
    case .deviceLost: code(PENSTOCK_ERROR_DEVICE_LOST)
    case .deviceMemory: code(PENSTOCK_ERROR_DEVICE_MEMORY)
    case .device: code(PENSTOCK_ERROR_DEVICE)
    case .malformedData: code(PENSTOCK_ERROR_MALFORMED_DATA)
    case .checksumMismatch: code(PENSTOCK_ERROR_CHECKSUM_MISMATCH)
    }
}

/// A result's name and what it means, for people.
private func description(of result: penstock_result) -> (name: StaticString, text: StaticString) {
    switch Int(result) {
    case Int(PENSTOCK_OK): ("OK", "it has succeeded")
    case Int(PENSTOCK_PENDING): ("PENDING", "it has not ended yet")
    case Int(PENSTOCK_WOULD_BLOCK): ("WOULD_BLOCK", "the queue is full; wait for requests to end")
    case Int(PENSTOCK_TIMEOUT): ("TIMEOUT", "the time has passed")
    case Int(PENSTOCK_ERROR_INVALID_ARGUMENT):
        ("INVALID_ARGUMENT", "an argument is NULL, unknown or makes no sense, or the kernel refused it")
    case Int(PENSTOCK_ERROR_INVALID_HANDLE): ("INVALID_HANDLE", "the handle has been closed, or never was one")
    case Int(PENSTOCK_ERROR_STRUCT_SIZE):
        ("STRUCT_SIZE", "struct_size is not the struct's size, or fields that this version does not know are not zero")
    case Int(PENSTOCK_ERROR_WRONG_THREAD): ("WRONG_THREAD", "this would wait for the callback that it is called from")
    case Int(PENSTOCK_ERROR_INVALID_RANGE):
        ("INVALID_RANGE", "the range lies outside memory, or past the largest file offset")
    case Int(PENSTOCK_ERROR_QUEUE_CLOSED): ("QUEUE_CLOSED", "the queue or its runtime is being closed")
    case Int(PENSTOCK_ERROR_FILE_CLOSED): ("FILE_CLOSED", "the file was closed before this request")
    case Int(PENSTOCK_ERROR_FOREIGN_FILE): ("FOREIGN_FILE", "the file belongs to another runtime")
    case Int(PENSTOCK_ERROR_NOT_SUPPORTED):
        ("NOT_SUPPORTED", "the file system, the kernel or this version cannot do this")
    case Int(PENSTOCK_ERROR_UNAVAILABLE): ("UNAVAILABLE", "could not be set up on this machine")
    case Int(PENSTOCK_ERROR_CANCELLED): ("CANCELLED", "the request was cancelled")
    case Int(PENSTOCK_ERROR_DEADLINE_EXCEEDED): ("DEADLINE_EXCEEDED", "the request's time was over before it finished")
    case Int(PENSTOCK_ERROR_NOT_FOUND): ("NOT_FOUND", "no such file; check the path")
    case Int(PENSTOCK_ERROR_PERMISSION_DENIED): ("PERMISSION_DENIED", "check the file's mode and owner")
    case Int(PENSTOCK_ERROR_ALREADY_EXISTS): ("ALREADY_EXISTS", "the file exists; open it without EXCLUSIVE")
    case Int(PENSTOCK_ERROR_IS_DIRECTORY): ("IS_DIRECTORY", "the path names a directory; name a file in it")
    case Int(PENSTOCK_ERROR_UNSUPPORTED_FILE_TYPE):
        ("UNSUPPORTED_FILE_TYPE", "not a regular file or a block device")
    case Int(PENSTOCK_ERROR_BAD_DESCRIPTOR): ("BAD_DESCRIPTOR", "the file is not open for this; check its access")
    case Int(PENSTOCK_ERROR_BAD_ADDRESS): ("BAD_ADDRESS", "the memory is not mapped, or not writable")
    case Int(PENSTOCK_ERROR_TOO_MANY_OPEN_FILES): ("TOO_MANY_OPEN_FILES", "close some, or raise `ulimit -n`")
    case Int(PENSTOCK_ERROR_NO_SPACE): ("NO_SPACE", "the disk is full, or the quota is used up")
    case Int(PENSTOCK_ERROR_FILE_TOO_LARGE): ("FILE_TOO_LARGE", "larger than the file system allows")
    case Int(PENSTOCK_ERROR_READ_ONLY): ("READ_ONLY", "the file system or the file cannot be written")
    case Int(PENSTOCK_ERROR_OUT_OF_MEMORY): ("OUT_OF_MEMORY", "the kernel has no memory left")
    case Int(PENSTOCK_ERROR_MEMORY_LIMIT): ("MEMORY_LIMIT", "larger than the runtime's memory limit")
    case Int(PENSTOCK_ERROR_BUSY): ("BUSY", "the kernel kept asking to try again")
    case Int(PENSTOCK_ERROR_IO): ("IO", "the disk reported an error; check the kernel's log")
    case Int(PENSTOCK_ERROR_DEVICE_LOST): ("DEVICE_LOST", "the GPU was lost; make a new device")
    case Int(PENSTOCK_ERROR_DEVICE_MEMORY): ("DEVICE_MEMORY", "the GPU has no memory left, or the budget is used up")
    case Int(PENSTOCK_ERROR_DEVICE): ("DEVICE", "a Vulkan command failed")
    case Int(PENSTOCK_ERROR_MALFORMED_DATA): ("MALFORMED_DATA", "the bytes are not what their format says they are")
    case Int(PENSTOCK_ERROR_CHECKSUM_MISMATCH): ("CHECKSUM_MISMATCH", "the bytes have changed since they were written")
    default: ("OTHER", "the operation failed")
    }
}

@c @implementation
public func penstock_version() -> UInt32 { 0 << 22 | 1 << 12 | 0 }

@c @implementation
public func penstock_result_name(_ result: penstock_result) -> UnsafePointer<CChar>! {
    UnsafeRawPointer(description(of: result).name.utf8Start).assumingMemoryBound(to: CChar.self)
}

@c @implementation
public func penstock_result_text(_ result: penstock_result) -> UnsafePointer<CChar>! {
    UnsafeRawPointer(description(of: result).text.utf8Start).assumingMemoryBound(to: CChar.self)
}

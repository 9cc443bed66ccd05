import Glibc
import Penstock
import SystemPackage
import Testing

/// Every errno ends in a code, and every error tells people where and what.
@Suite struct ErrorMapping {
    /// What the manual pages of open, read, write, fsync, fallocate, ftruncate and io_uring name.
    static let expected: [(StorageError.Code, [Int32])] = [
        (.cancelled, [ECANCELED]),
        (.notFound, [ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP]),
        (.permissionDenied, [EACCES, EPERM]),
        (.alreadyExists, [EEXIST]),
        (.isDirectory, [EISDIR]),
        (.invalidArgument, [EINVAL]),
        (.notSupported, [EOPNOTSUPP, ENOSYS, ESPIPE]),
        (.badDescriptor, [EBADF]),
        (.badAddress, [EFAULT]),
        (.tooManyOpenFiles, [EMFILE, ENFILE]),
        (.noSpace, [ENOSPC, EDQUOT]),
        (.fileTooLarge, [EFBIG, EOVERFLOW]),
        (.readOnly, [EROFS, ETXTBSY]),
        (.outOfMemory, [ENOMEM, ENOBUFS]),
        (.busy, [EAGAIN, EINTR, EBUSY]),
        (.io, [EIO, ENODATA, ENXIO, ENODEV, ESTALE, ETIMEDOUT]),
    ]

    @Test func everyErrnoOfTheManualPagesHasItsCode() {
        for (code, numbers) in Self.expected {
            for number in numbers { #expect(StorageError.Code(errno: number) == code, "errno \(number)") }
        }
    }

    @Test func everyOtherNumberIsOther() {
        for number in Int32(-2)...200 {
            guard !Self.expected.contains(where: { $0.1.contains(number) }) else { continue }
            #expect(!StorageError(errno: number, .read).message.isEmpty)
        }
        #expect(StorageError.Code(errno: 12345) == .other)
    }

    @Test func descriptionTellsOperationFileOffsetLengthAndErrno() {
        let error = StorageError(errno: EIO, .read, path: "/data/level1.bin", offset: 12345, length: 100)
        let text = "\(error)"
        for part in ["read", "/data/level1.bin", "12345", "100", "errno \(EIO)", "io", error.message] {
            #expect(text.contains(part), "\(text) lacks \(part)")
        }
    }

    @Test func everyCodeHasAdviceOfItsOwn() {
        var messages: Set<String> = []
        for (code, _) in Self.expected { messages.insert(StorageError(code, .read).message) }
        #expect(messages.count == Self.expected.count)
    }

    @Test func underlyingErrorIsToldToo() {
        let cause = StorageError(.noSpace, .write, path: "/b")
        let error = StorageError(.other, .load, path: "/a", message: "no luck", underlying: cause)
        #expect("\(error)".contains("no luck") && "\(error)".contains("/b"))
        #expect((error.underlying as? StorageError)?.code == .noSpace)
    }

    @Test func resultOfABatchStaysSmall() {
        #expect(MemoryLayout<Result<Int, StorageError>>.size <= 9)
    }
}

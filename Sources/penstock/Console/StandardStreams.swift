import Glibc

/// Writes `text` to standard error at once. (Swift 6 will not touch C's `stderr`, a mutable global.)
func writeToStandardError(_ text: String) {
    write(text, to: STDERR_FILENO)
}

/// Writes `text` to standard output at once, unlike `print`, which keeps lines back when the output is a pipe.
func writeToStandardOutput(_ text: String) {
    write(text, to: STDOUT_FILENO)
}

private func write(_ text: String, to descriptor: CInt) {
    var text = text
    text.withUTF8 { bytes in
        var rest = UnsafeRawBufferPointer(bytes)
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }  // Nobody is there to read it, nor to be told.
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }
}

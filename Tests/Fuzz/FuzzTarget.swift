/// Something that takes bytes from anywhere, and what must hold of it whatever they are.
///
/// `.ci/fuzz` has libFuzzer make up inputs for each; the tests run those that are kept in `Corpus`, in a folder of the
/// target's name. A new one is an entry in ``all`` and such a folder, with some inputs to begin from.
package struct FuzzTarget: Sendable {
    package let name: String
    /// Ends the process on an access outside the memory, and throws ``BrokenPromise`` on whatever else must not be.
    package let check: @Sendable (_ input: UnsafeRawBufferPointer, _ memory: FuzzMemory) throws -> Void

    package static let all: [FuzzTarget] =
        [.gdeflatePage, .gdeflateStream, .zstd, .lz4] + deflates + [.gdeflateRoundTrip, .archive]
}

/// What was found.
package struct BrokenPromise: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// Throws if it does not hold.
func require(_ condition: Bool, _ promise: @autoclosure () -> String) throws {
    if !condition { throw BrokenPromise(promise()) }
}

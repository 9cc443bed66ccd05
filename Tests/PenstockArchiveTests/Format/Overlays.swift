import PenstockArchive
import Testing

/// Which archives may lie on one another.
@Suite struct Overlays {
    private func problem(_ stack: [ArchiveHeader]) -> ArchiveError.Code? { Overlay.problem(stack)?.code }

    /// For a loop, somebody would have to forge the checksum that names a header, since it covers the base's name.
    private func made(_ identity: UInt64, on base: UInt64? = nil) -> ArchiveHeader {
        ArchiveHeader(identity: identity, baseIdentity: base)
    }

    @Test func patchesLieOnTheirBase() {
        #expect(problem([made(1)]) == nil)
        #expect(problem([made(1), made(2, on: 1)]) == nil)
        #expect(problem([made(1), made(2, on: 1), made(3, on: 2)]) == nil)
        #expect(problem([made(1), made(2, on: 1), made(3, on: 1)]) == nil)
        #expect(problem([made(2, on: 1)]) == nil)
    }

    @Test func anotherOrderIsAMismatch() {
        #expect(problem([made(1), made(2)]) == .overlayMismatch)
        #expect(problem([made(2, on: 1), made(3, on: 2)]) == .overlayMismatch)
        #expect(problem([made(1), made(3, on: 9)]) == .overlayMismatch)
    }

    @Test func loopsAreErrors() {
        #expect(problem([made(2, on: 2)]) == .overlayCycle)
        #expect(problem([made(1), made(2, on: 2)]) == .overlayCycle)
        #expect(problem([made(1), made(2, on: 1), made(2, on: 1)]) == .overlayCycle)
        #expect(problem([made(1), made(1)]) == .overlayCycle)
        #expect(problem([made(2, on: 3), made(3, on: 2)]) == .overlayCycle)
        #expect(problem([made(1), made(2, on: 3), made(3, on: 2)]) == .overlayCycle)
    }
}

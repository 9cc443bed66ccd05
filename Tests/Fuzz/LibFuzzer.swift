import Glibc

/// Under libFuzzer one thread calls this, so one piece of memory will do.
private nonisolated(unsafe) let memory = FuzzMemory()

/// `PENSTOCK_FUZZ` names it, as libFuzzer has no parameters for others.
private let chosen: FuzzTarget = {
    let name = getenv("PENSTOCK_FUZZ").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
        fatalError("PENSTOCK_FUZZ is one of: " + FuzzTarget.all.map(\.name).joined(separator: " "))
    }
    return target
}()

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func checkOneInput(_ input: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    do {
        try chosen.check(UnsafeRawBufferPointer(start: input, count: size), memory)
    } catch {
        fatalError("\(chosen.name): \(error)")
    }
    return 0
}

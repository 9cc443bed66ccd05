import Glibc

/// A generator whose whole state is its seed (SplitMix64), so that a printed seed repeats a run.
package struct SeededRandom: RandomNumberGenerator {
    package let seed: UInt64
    private var state: UInt64

    package init(_ seed: UInt64) {
        self.seed = seed
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    package mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
    package mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

/// Calls `body` with that many generators, each from a seed of its own. `PENSTOCK_SEED` repeats a single one.
///
/// - Parameters:
///   - name: Printed with the first seed; a failure names its own through `seed`.
///   - count: As for ``repetitions(_:)``.
package func forEachSeed(_ name: String, count: Int, _ body: (inout SeededRandom) throws -> Void) rethrows {
    if let given = getenv("PENSTOCK_SEED"), let seed = UInt64(String(cString: given)) {
        var random = SeededRandom(seed)
        return try body(&random)
    }
    let first = UInt64.random(in: 0...(.max >> 1))
    let count = repetitions(count)
    print("\(name): seeds \(first) and the \(count - 1) after it")
    for index in 0..<UInt64(count) {
        var random = SeededRandom(first &+ index)
        try body(&random)
    }
}

/// How often something is tried that is usually tried so often: `PENSTOCK_REPEAT_PERCENT` makes it fewer, since under a
/// sanitizer each takes many times as long, or more.
package func repetitions(_ usual: Int) -> Int {
    let percent = getenv("PENSTOCK_REPEAT_PERCENT").flatMap { Int(String(cString: $0)) } ?? 100
    return max(1, usual * percent / 100)
}

/// A generator from a seed that is printed, for a test of one run.
package func seededOnce(_ name: String) -> SeededRandom {
    var seed = UInt64.random(in: 0...(.max >> 1))
    if let given = getenv("PENSTOCK_SEED"), let value = UInt64(String(cString: given)) { seed = value }
    print("\(name): seed \(seed)")
    return SeededRandom(seed)
}

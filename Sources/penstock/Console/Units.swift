/// Quantities written for people. Sizes are binary (1 MiB = 1,048,576 bytes), as disks' blocks and pages are.
enum Units {
    /// `1536` as `1.5 KiB`.
    static func bytes(_ count: UInt64) -> String {
        guard count >= 1024 else { return "\(count) B" }
        return scaled(Double(count), by: 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
    }

    /// Bytes per second: `1.7 GiB/s`.
    static func rate(bytesPerSecond: Double) -> String {
        scaled(bytesPerSecond, by: 1024, ["B", "KiB", "MiB", "GiB", "TiB"]) + "/s"
    }

    /// Things per second: `1.03 M/s`.
    static func rate(perSecond: Double) -> String {
        scaled(perSecond, by: 1000, ["", "k", "M", "G"]) + "/s"
    }

    /// A measured time: `850 ns`, `12.4 µs`, `3.05 ms`, `1.25 s`.
    static func time(nanoseconds: Double) -> String {
        guard nanoseconds < 1e9 else { return fixed(nanoseconds / 1e9, decimals: 2) + " s" }
        return scaled(nanoseconds, by: 1000, ["ns", "µs", "ms"])
    }

    /// Time left, where only the order of magnitude matters: `8 s`, `2 min 5 s`, `1 h 4 min`.
    static func remaining(seconds: Double) -> String {
        guard seconds.isFinite, seconds < 360_000 else { return "a long time" }
        let whole = Int(max(seconds, 0).rounded(.up))
        switch whole {
        case ..<60: return "\(whole) s"
        case ..<3600: return "\(whole / 60) min \(whole % 60) s"
        default: return "\(whole / 3600) h \(whole / 60 % 60) min"
        }
    }

    /// A whole number with thousands set apart: `1,030,000`.
    static func count(_ value: UInt64) -> String {
        var grouped = ""
        let digits = String(value)
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { grouped.append(",") }
            grouped.append(digit)
        }
        return grouped
    }

    /// A number with exactly `decimals` digits after the point. (Formatting is Foundation's, which stays out.)
    static func fixed(_ value: Double, decimals: Int) -> String {
        let factor = (0..<decimals).reduce(UInt64(1)) { product, _ in product * 10 }
        let magnitude = (abs(value) * Double(factor)).rounded()
        guard magnitude < 1e18 else { return "\(value)" }  // Too large for the integers below, or not finite.
        let integer = UInt64(magnitude)
        let sign = value < 0 && integer > 0 ? "-" : ""
        guard decimals > 0 else { return "\(sign)\(integer)" }
        let fraction = String(integer % factor)
        let zeros = String(repeating: "0", count: decimals - fraction.count)
        return "\(sign)\(integer / factor).\(zeros)\(fraction)"
    }

    /// Three significant digits in the first unit that keeps the number below `base`.
    private static func scaled(_ value: Double, by base: Double, _ units: [String]) -> String {
        var value = value
        var unit = 0
        while value >= base * 0.9995, unit < units.count - 1 {
            value /= base
            unit += 1
        }
        let decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0
        let number = fixed(value, decimals: decimals)
        return units[unit].isEmpty ? number : "\(number) \(units[unit])"
    }
}

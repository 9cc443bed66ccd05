/// Numbers for people.
enum Units {
    /// 43155 as "43,155".
    static func grouped(_ number: Int) -> String {
        let digits = Array(String(number))
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0, digits[index - 1] != "-" { text += "," }
            text.append(digit)
        }
        return text
    }

    static func bytes(_ count: Int) -> String {
        scaled(Double(count), 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
    }

    /// With so many decimals.
    static func fixed(_ value: Double, decimals: Int) -> String {
        var scale = 1
        for _ in 0..<decimals { scale *= 10 }
        let scaled = Int((value * Double(scale)).rounded())
        let fraction = String(scaled % scale)
        return "\(scaled / scale).\(String(repeating: "0", count: decimals - fraction.count))\(fraction)"
    }

    static func time(_ nanoseconds: UInt64) -> String { scaled(Double(nanoseconds), 1000, ["ns", "µs", "ms", "s"]) }

    static func time(_ duration: Duration) -> String { time(UInt64(max(0, duration / .nanoseconds(1)))) }

    static func rate(_ bytes: Int, _ duration: Duration) -> String {
        duration > .zero ? "\(self.bytes(Int(Double(bytes) / (duration / .seconds(1)))))/s" : "–"
    }

    /// Three digits that say something: "9.84 ms", "98.4 ms", "984 ms".
    private static func scaled(_ value: Double, _ step: Double, _ units: [String]) -> String {
        var value = value
        var unit = 0
        while value >= step * 0.9995, unit < units.count - 1 {
            value /= step
            unit += 1
        }
        guard unit > 0 else { return "\(Int(value)) \(units[0])" }
        let decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0
        let factor = [1.0, 10.0, 100.0][decimals]
        let rounded = Int((value * factor).rounded())
        guard decimals > 0 else { return "\(rounded) \(units[unit])" }
        let fraction = String(rounded % Int(factor))
        let zeros = String(repeating: "0", count: decimals - fraction.count)
        return "\(rounded / Int(factor)).\(zeros)\(fraction) \(units[unit])"
    }
}

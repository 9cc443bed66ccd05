extension UInt64 {
    /// The sum, or the largest number there is: of sizes that anybody may claim.
    package func addingSaturated(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}

extension Sequence {
    /// The sum of sizes; the largest number there is where they add up to more.
    package func sum(_ size: (Element) -> UInt64) -> UInt64 {
        reduce(0) { $0.addingSaturated(size($1)) }
    }
}

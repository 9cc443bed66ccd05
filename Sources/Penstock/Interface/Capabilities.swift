/// On which rung each feature of a queue stands on this machine, and why.
public struct Capabilities: Sendable {
    /// One feature.
    public struct Feature: Sendable {
        /// What it is.
        public let name: String
        /// Whether the best rung is in use.
        public let isAvailable: Bool
        /// What is used: the best rung, or the next one down.
        public let rung: String
        /// Why not the best rung, with the errno and the likely cause; or a detail worth knowing.
        public let reason: String?
        /// What to do about it, if anything can be done.
        public let advice: String?

        package init(
            _ name: String, isAvailable: Bool, rung: String, reason: String? = nil, advice: String? = nil
        ) {
            self.name = name
            self.isAvailable = isAvailable
            self.rung = rung
            self.reason = reason
            self.advice = advice
        }
    }

    /// The driver in use.
    public let driver: DriverKind
    /// All features, the driver first.
    public let features: [Feature]

    package init(driver: DriverKind, features: [Feature]) {
        self.driver = driver
        self.features = features
    }

    /// The feature of that name.
    public subscript(name: String) -> Feature? { features.first { $0.name == name } }
}

extension Capabilities: CustomStringConvertible {
    /// One line a feature.
    public var description: String {
        features.map { feature in
            var line = "\(feature.isAvailable ? "✓" : "–") \(feature.name): \(feature.rung)"
            if let reason = feature.reason { line += " (\(reason))" }
            if let advice = feature.advice { line += "; \(advice)" }
            return line
        }.joined(separator: "\n")
    }
}

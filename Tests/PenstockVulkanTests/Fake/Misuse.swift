import FakeVulkan
import Testing

/// One way to break a rule, and the rule that must then be reported: that one and no other.
struct Misuse: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let rule: String
    let configuration: FakeVulkan.Configuration
    let body: @Sendable (FakeRig) throws -> Void

    init(
        _ description: String, _ rule: String, _ configuration: FakeVulkan.Configuration = .init(),
        _ body: @escaping @Sendable (FakeRig) throws -> Void
    ) {
        testDescription = description
        self.rule = rule
        var configuration = configuration
        configuration.execution = .manual
        self.configuration = configuration
        self.body = body
    }

    /// What was reported besides the rule; nil if it was not reported at all.
    func reports() throws -> (isReported: Bool, others: [String]) {
        let rig = try FakeRig(configuration)
        try body(rig)
        let violations = rig.fake.violations
        return (violations.contains { $0.contains(rule) }, violations.filter { !$0.contains(rule) })
    }
}

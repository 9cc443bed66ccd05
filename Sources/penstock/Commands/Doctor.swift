import ArgumentParser
import Glibc
import Penstock

/// Explains this machine: what of it the queue uses, what is missing, and what to do about that.
struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what this machine offers, what is missing, and what to do about it.",
        discussion: "The exit status is 0 unless not even the thread pool works.")

    @Flag(help: "Print one JSON object a line instead of text.")
    var json = false

    @Option(
        help: ArgumentHelp("A directory on the disk to examine.", valueName: "path"), completion: .directory)
    var directory = "."

    func run() async throws {
        let queue = try StorageQueue()
        var findings = queue.capabilities.features.map(Finding.init)
        await queue.shutdown()
        findings += MachineFindings.all()
        findings += try await DiskFindings(directory).all()
        let gpus = await GPUFindings()
        if json { printJSON(findings, gpus) } else { printText(findings + gpus.findings, gpus.devices) }
    }

    private func printJSON(_ findings: [Finding], _ gpus: GPUFindings) {
        for finding in findings + gpus.vulkan { writeToStandardOutput(finding.json.text + "\n") }
        for device in gpus.devices {
            var line = device.finding.json
            device.addMembers(to: &line)
            writeToStandardOutput(line.text + "\n")
        }
    }

    private func printText(_ findings: [Finding], _ gpus: [GPUFindings.Device]) {
        var table = Table(indent: 0, [.left(""), .left(""), .left("")])
        for finding in findings {
            table.append([finding.isGood ? "ok" : "--", finding.name, finding.rung])
        }
        writeToStandardOutput(table.text + "\n")
        for gpu in gpus { writeToStandardOutput(gpu.text + "\n") }
        let lacking = findings.filter { !$0.isGood }
        for finding in lacking {
            writeToStandardOutput("\(finding.name): \(finding.reason ?? "not available")\n")
            if let advice = finding.advice { writeToStandardOutput("    what to do: \(advice)\n") }
        }
        writeToStandardOutput(
            lacking.isEmpty
                ? "Everything Penstock can use is there.\n"
                : "\nPenstock works all the same: each of these has a next rung down, named above.\n")
    }
}

/// One thing that was looked at.
struct Finding: Sendable {
    var name: String
    var isGood: Bool
    /// What is used.
    var rung: String
    var reason: String?
    var advice: String?

    init(_ name: String, isGood: Bool, rung: String, reason: String? = nil, advice: String? = nil) {
        self.name = name
        self.isGood = isGood
        self.rung = rung
        self.reason = reason
        self.advice = advice
    }

    init(_ feature: Capabilities.Feature) {
        self.init(
            feature.name, isGood: feature.isAvailable, rung: feature.rung, reason: feature.reason,
            advice: feature.advice)
    }
}

extension Finding {
    /// The finding for programs.
    fileprivate var json: JSONLine {
        [
            "feature": .string(name), "available": .boolean(isGood), "rung": .string(rung),
            "reason": reason.map { .string($0) } ?? .null, "advice": advice.map { .string($0) } ?? .null,
        ]
    }
}

import Glibc
import PenstockVulkan
import TestSupport
import Testing

/// What the validation layer has said of one device.
final class ValidationLog: Sendable {
    private let messages = Shared<[String]>([])

    var all: [String] { messages.now }

    func add(_ message: String) { messages.change { $0.append(message) } }

    /// The messages so far, which are forgotten: those that a test means to provoke.
    func take() -> [String] {
        var taken: [String] = []
        messages.change { swap(&$0, &taken) }
        return taken
    }
}

/// Calls `body` with a device of its own, each of whose calls is checked by the validation layer: core, synchronization and
/// thread safety. Any message fails the test, those of the device's destruction included, and so does anything that keeps
/// the device alive.
///
/// A machine without lavapipe or without the layer fails the test too.
func withValidatedDevice(
    _ change: (inout GPUDevice.Configuration) -> Void = { _ in },
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (GPUDevice, ValidationLog) async throws -> Void
) async throws {
    let log = ValidationLog()
    weak var instanceLives: Sentinel?
    do {
        let sentinel = Sentinel()
        instanceLives = sentinel
        var configuration = GPUDevice.Configuration()
        configuration.validation = { message in
            withExtendedLifetime(sentinel) { log.add(message) }
        }
        change(&configuration)
        let device = try GPUDevice(configuration)
        try #require(device.name.contains("llvmpipe"), "made for lavapipe, and this is \(device.name)")
        try await body(device, log)
    }
    // The instance goes last of all, and with it the messenger; a queue's thread may hold them for a moment longer.
    await yields { instanceLives == nil }
    #expect(instanceLives == nil, "something keeps the device alive", sourceLocation: sourceLocation)
    let messages = log.all
    #expect(messages.isEmpty, "\(messages.joined(separator: "\n"))", sourceLocation: sourceLocation)
}

/// The same without the log.
func withValidatedDevice(
    _ change: (inout GPUDevice.Configuration) -> Void = { _ in },
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (GPUDevice) async throws -> Void
) async throws {
    try await withValidatedDevice(change, sourceLocation: sourceLocation) { device, _ in try await body(device) }
}

/// Lives as long as whatever holds it.
final class Sentinel: Sendable {}

/// Gives way to other tasks until something is so, which is to be soon: false if it is not.
@discardableResult
func yields(until isSo: () -> Bool) async -> Bool {
    // Yields are quick where nothing else is to do; this is some seconds' worth.
    for _ in 0..<5_000_000 {
        if isSo() { return true }
        await Task.yield()
    }
    return false
}

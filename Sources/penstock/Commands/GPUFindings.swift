import Penstock
import PenstockVulkan
import SystemPackage

/// What Vulkan offers here, and which way bytes take to each of its devices: found out with a real read.
struct GPUFindings {
    /// One device.
    struct Device {
        let physical: PhysicalDevice
        let finding: Finding
        /// Nil where the device is of no use.
        let trial: GPUTrial?
    }

    /// What concerns all devices.
    private(set) var vulkan: [Finding] = []
    private(set) var devices: [Device] = []

    var findings: [Finding] { vulkan + devices.map(\.finding) }

    init() async {
        do throws(StorageError) {
            let survey = try VulkanLoader.survey()
            vulkan.append(Finding("Vulkan loader", isGood: true, rung: "libvulkan.so.1, \(survey.version)"))
            vulkan.append(Self.validation(survey.hasValidation))
        } catch {
            vulkan.append(Finding("Vulkan loader", isGood: false, rung: "host memory only", reason: error.message))
            return
        }
        do throws(StorageError) {
            let all = try GPUDevice.all()
            if all.isEmpty { vulkan.append(Self.noDevice(VulkanLoader.noDevice)) }
            for physical in all { devices.append(await Device(physical)) }
        } catch {
            vulkan.append(Self.noDevice(error.message))
        }
    }

    private static func validation(_ isThere: Bool) -> Finding {
        let layer = "VK_LAYER_KHRONOS_validation"
        guard !isThere else { return Finding("Vulkan validation", isGood: true, rung: layer) }
        return Finding(
            "Vulkan validation", isGood: false, rung: "unchecked", reason: "\(layer) is not installed",
            advice: "only to check programs and to run the tests: install vulkan-validationlayers (Debian, Ubuntu) or "
                + "vulkan-validation-layers (Arch, Fedora)")
    }

    /// The reason says what to install, too.
    private static func noDevice(_ reason: String) -> Finding {
        Finding("GPU", isGood: false, rung: "host memory only", reason: reason)
    }
}

extension GPUFindings.Device {
    fileprivate init(_ physical: PhysicalDevice) async {
        self.physical = physical
        let advice = "update its driver, or take another device with PENSTOCK_VK_DEVICE"
        if let obstacle = physical.obstacle {
            trial = nil
            finding = Finding(
                "GPU", isGood: false, rung: "not used: \(physical.name)", reason: obstacle,
                advice: advice)
            return
        }
        do {
            trial = try await GPUTrial(physical)
            finding = Finding("GPU", isGood: true, rung: physical.name)
        } catch {
            trial = nil
            finding = Finding(
                "GPU", isGood: false, rung: "not used: \(physical.name)", reason: "\(error)", advice: advice)
        }
    }

    /// The way of bytes to each destination, as label and text.
    var paths: [(label: String, text: String)] {
        guard let trial else { return [] }
        return [
            ("buffers", trial.buffersInWords), ("images", "through staging memory"), ("staging", trial.stagingInWords),
        ]
    }
}

/// A real read into a buffer of the device and back out of it.
struct GPUTrial {
    /// Whether the file was read straight into the buffer's memory.
    let landsDirectly: Bool
    let buffersInWords: String
    let stagingInWords: String

    private static let size = 64 << 10

    init(_ physical: PhysicalDevice) async throws {
        var configuration = GPUDevice.Configuration()
        configuration.name = physical.name
        let device = try GPUDevice(configuration)
        let buffer = try device.makeBuffer(byteCount: Self.size)
        let hadMapping = buffer.mappedBytes != nil
        var staging: Capabilities.Feature?
        try await withStorageQueue { queue in
            let file = try await queue.open("/proc/self/exe")
            try await queue.read(from: file, into: buffer[...])
            let (sent, back) = (
                try await queue.allocate(byteCount: Self.size), try await queue.allocate(byteCount: Self.size)
            )
            try await queue.read(from: file, into: sent)
            try await queue.write(buffer[...], to: back[...])
            let isIntact = sent.withUnsafeBytes { sent in back.withUnsafeBytes { sent.elementsEqual($0) } }
            guard isIntact else { throw BenchError("the device returned other bytes than it was given") }
            staging = queue.capabilities["GPU staging"]
        }
        landsDirectly = buffer.mappedBytes != nil
        buffersInWords =
            landsDirectly
            ? "files are read straight into them"
            : "through staging memory: "
                + (hadMapping ? "the kernel refuses to read into them" : "the host does not see device-local memory")
        stagingInWords = (staging?.rung ?? "none") + (staging?.reason.map { " (\($0))" } ?? "")
    }
}

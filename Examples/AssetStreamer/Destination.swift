import ArgumentParser
import Penstock
import PenstockVulkan

/// Where the files go.
enum Destination: Sendable {
    /// Host memory; the text says why not the GPU's.
    case host(String?)
    case gpu(GPUDevice)

    /// What the command line says.
    enum Choice: String, CaseIterable, ExpressibleByArgument {
        case auto, gpu, host
    }

    /// A game hands over the device that it renders with: `GPUDevice(adopting:)`. This program has none, and makes one.
    init(_ choice: Choice) throws(StorageError) {
        switch choice {
        case .host: self = .host(nil)
        case .gpu: self = .gpu(try GPUDevice())
        case .auto:
            do throws(StorageError) {
                self = .gpu(try GPUDevice())
            } catch  where error.code == .unavailable {
                self = .host(error.message)
            }
        }
    }

    /// GPU memory for the files, if that is where they go.
    func makeRing() throws(StorageError) -> BufferRing? {
        if case .gpu(let device) = self { try BufferRing(on: device) } else { nil }
    }

    /// What it is, and how the bytes got there, as label and text.
    func inWords(_ capabilities: Capabilities) -> [(label: String, text: String)] {
        switch self {
        case .host(let reason): [("to", "host memory" + (reason.map { " (\($0))" } ?? ""))]
        case .gpu(let device):
            [("to", "buffers of \(device.name)")]
                + [("landing", "GPU landing"), ("staging", "GPU staging")].compactMap { label, name in
                    capabilities[name].map { (label, $0.rung + ($0.reason.map { " (\($0))" } ?? "")) }
                }
        }
    }
}

import CLinux
import Penstock

/// Where a queue decodes what a GPU could decode as well: GDeflate pages on their way into a GPU's buffer.
public struct DecodingPolicy: Sendable, Hashable {
    /// Who decodes.
    public enum Processor: String, Sendable, CaseIterable {
        /// Whichever has been the faster one, within the GPU's time.
        case automatic
        /// The queue's workers.
        case cpu
        /// The GPU, wherever it can.
        case gpu
    }

    /// Who decodes.
    public var processor: Processor
    /// With ``Processor/automatic``: how much of the GPU's time decoding may take, as a share; a frame needs the rest.
    public var gpuTimeShare: Double

    /// Makes a policy.
    public init(_ processor: Processor = .automatic, gpuTimeShare: Double = 0.2) {
        self.processor = processor
        self.gpuTimeShare = min(max(gpuTimeShare, 0), 1)
    }
}

extension StorageQueue {
    /// Where chunks are decoded; may be changed at any time, for what is asked for afterwards.
    ///
    /// A request's own ``DecodingRequest/processor`` goes before it. What a GPU cannot decode, the workers do: other codecs,
    /// chunks that are stored or wanted in part, images, and anything on devices without compute shaders.
    public nonisolated var decodingPolicy: DecodingPolicy {
        (try? codecWorkers.chooser.policy) ?? DecodingPolicy()
    }

    /// Sets ``decodingPolicy``.
    public nonisolated func setDecodingPolicy(_ policy: DecodingPolicy) {
        // A queue that has shut down decodes nothing.
        try? codecWorkers.chooser.set(policy)
    }
}

/// Chooses between the workers and a GPU by how fast each has been, a GPU's first pages being a trial.
final class DecodingChooser: Sendable {
    fileprivate struct State {
        var policy = DecodingPolicy()
        /// Nanoseconds of the GPU's time that may be used now.
        var credit = 0.0
        var filledAt: UInt64 = 0
        /// Decoded bytes each nanosecond; 0: not known.
        var gpuRate = 0.0
        var cpuRate = 0.0
        /// Requests since the GPU was last tried.
        var sinceTrial = 0
    }

    /// One of so many requests goes to the slower processor, which may have become the faster one.
    private static let trialEvery = 64
    /// How much the newest measurement counts.
    private static let weight = 0.25
    /// What may be saved up of the GPU's time, as a part of a second: a frame's worth of everything, no more.
    private static let savedSeconds = 0.1

    private let state = Locked(State())
    /// How many workers there are.
    private let width: Int

    init(width: Int) { self.width = width }

    var policy: DecodingPolicy { state.withLock { $0.policy } }

    func set(_ policy: DecodingPolicy) { state.withLock { $0.policy = policy } }

    /// Whether the GPU is to decode so many bytes, which it can.
    func choosesGPU(_ own: DecodingPolicy.Processor?, bytes: Int) -> Bool {
        state.withLock { state in
            switch own ?? state.policy.processor {
            case .cpu: return false
            case .gpu: return true
            case .automatic: return state.choosesGPU(Double(bytes), width, Self.trialEvery, Self.savedSeconds)
            }
        }
    }

    /// Decoding took so long.
    func note(_ work: DecodingStatistics.Work, onGPU: Bool) {
        guard work.decodedBytes > 0, work.nanoseconds > 0 else { return }
        let rate = Double(work.decodedBytes) / Double(work.nanoseconds)
        state.withLock { state in
            if onGPU {
                state.gpuRate += (rate - state.gpuRate) * (state.gpuRate == 0 ? 1 : Self.weight)
                state.credit -= Double(work.nanoseconds)
            } else {
                state.cpuRate += (rate - state.cpuRate) * (state.cpuRate == 0 ? 1 : Self.weight)
            }
        }
    }
}

extension DecodingChooser.State {
    fileprivate mutating func choosesGPU(
        _ bytes: Double, _ width: Int, _ trialEvery: Int, _ savedSeconds: Double
    ) -> Bool {
        let now = linux_monotonic_ns()
        let most = policy.gpuTimeShare * savedSeconds * 1e9
        credit = filledAt == 0 ? most : min(most, credit + policy.gpuTimeShare * Double(now - filledAt))
        filledAt = now
        guard credit > 0 else { return false }
        // The workers first: without knowing them there is nothing to compare with.
        guard cpuRate > 0 else { return false }
        sinceTrial += 1
        if gpuRate == 0 || sinceTrial >= trialEvery {
            sinceTrial = 0
            return true
        }
        return gpuRate > cpuRate * Double(width) && bytes / gpuRate <= credit
    }
}

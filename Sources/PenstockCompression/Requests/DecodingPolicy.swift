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
    /// Whether a GPU that has `VK_EXT_memory_decompression` or `VK_NV_memory_decompression` may decode chunks with it whose
    /// checksum the queue's workers have verified on their way. All others are decoded by Penstock's compute shader.
    ///
    /// The shader looks at every byte that it reads and writes, and damage is a typed error. The extensions promise nothing
    /// of the kind: of a malformed chunk, Vulkan says neither what happens nor that it has happened. A checksum tells chunks
    /// that were damaged, not chunks that were made to do damage; nor does it tell whether
    /// ``EncodedChunk/decodedCount`` is right: bytes that a chunk does not hold are zero then, and those that it holds
    /// beyond are dropped, without an error. So set this to false where files come from strangers.
    public var allowsMemoryDecompression: Bool

    /// Makes a policy.
    public init(
        _ processor: Processor = .automatic, gpuTimeShare: Double = 0.2, allowsMemoryDecompression: Bool = true
    ) {
        self.processor = processor
        self.gpuTimeShare = min(max(gpuTimeShare, 0), 1)
        self.allowsMemoryDecompression = allowsMemoryDecompression
    }
}

extension StorageQueue {
    /// Where chunks are decoded; may be changed at any time, for what is asked for afterwards.
    ///
    /// A request's own ``/PenstockCompression/DecodingRequest/processor`` goes before it. What a GPU cannot decode, the workers do: other codecs,
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
package final class DecodingChooser: Sendable {
    fileprivate struct State {
        var policy = DecodingPolicy()
        /// Nanoseconds of the GPU's time that may be used now.
        var credit = 0.0
        var filledAt: UInt64 = 0
        /// Decoded bytes each nanosecond; 0: not known.
        var gpuRate = 0.0
        var cpuRate = 0.0
        /// When the GPU may be tried again although it has been the slower one.
        var nextTrial: UInt64 = 0
    }

    /// Nanoseconds between trials of a GPU that is as fast as the workers; one that is ten times slower is tried ten times
    /// less often.
    fileprivate static let trialInterval = 1e9
    fileprivate static let longestTrialInterval = 60e9
    /// Bytes that say something of a GPU's speed: a page.
    fileprivate static let trialBytes = 64 << 10
    /// How much the newest measurement counts.
    private static let weight = 0.25
    /// What may be saved up of the GPU's time, as a part of a second: a frame's worth of everything, no more.
    fileprivate static let savedSeconds = 0.1

    private let state = Locked(State())
    /// How many workers there are.
    private let width: Int

    package init(width: Int) { self.width = width }

    package var policy: DecodingPolicy { state.withLock { $0.policy } }

    package func set(_ policy: DecodingPolicy) { state.withLock { $0.policy = policy } }

    /// Whether the GPU is to decode so many bytes, which it can.
    ///
    /// - Parameter isHost: The GPU is made of software, and can only take from the workers what it needs itself.
    package func choosesGPU(_ own: DecodingPolicy.Processor?, bytes: Int, isHost: Bool = false) -> Bool {
        state.withLock { state in
            switch own ?? state.policy.processor {
            case .cpu: return false
            case .gpu: return true
            case .automatic: return !isHost && state.choosesGPU(bytes, width)
            }
        }
    }

    /// Decoding took so long.
    package func note(_ work: DecodingStatistics.Work, onGPU: Bool) {
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
    fileprivate mutating func choosesGPU(_ bytes: Int, _ width: Int) -> Bool {
        let now = linux_monotonic_ns()
        let most = policy.gpuTimeShare * DecodingChooser.savedSeconds * 1e9
        credit = filledAt == 0 ? most : min(most, credit + policy.gpuTimeShare * Double(now - filledAt))
        filledAt = now
        // The workers first: without knowing them there is nothing to compare with.
        guard credit > 0, cpuRate > 0 else { return false }
        let host = cpuRate * Double(width)
        if gpuRate > host { return Double(bytes) / gpuRate <= credit }
        guard now >= nextTrial, bytes >= DecodingChooser.trialBytes else { return false }
        // Set before the trial: requests of the meantime do not know how it ends.
        let wait = gpuRate == 0 ? 1 : host / gpuRate
        nextTrial = now + UInt64(min(DecodingChooser.trialInterval * wait, DecodingChooser.longestTrialInterval))
        return true
    }
}

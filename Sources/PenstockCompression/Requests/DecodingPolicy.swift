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
    /// With ``Processor/automatic``: how much of the GPU's time decoding may take, as a share from 0 to 1; a frame needs the
    /// rest. At 0.2, that is 200 ms of each second.
    public var gpuTimeShare: Double { didSet { gpuTimeShare = Self.share(gpuTimeShare) } }
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
        self.gpuTimeShare = Self.share(gpuTimeShare)
        self.allowsMemoryDecompression = allowsMemoryDecompression
    }

    private static func share(_ value: Double) -> Double { value > 0 ? min(value, 1) : 0 }
}

extension StorageQueue {
    /// Where chunks are decoded; may be changed at any time, for what is asked for afterwards.
    ///
    /// A request's own ``/PenstockCompression/DecodingRequest/processor`` goes before it. What a GPU cannot decode, the
    /// workers do: other codecs, chunks that are stored or wanted in part, images, and anything on devices without compute
    /// shaders.
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

    /// The workers have decoded so much.
    package func noteWorkers(_ work: DecodingStatistics.Work) {
        guard let rate = Self.rate(of: work) else { return }
        state.withLock { $0.cpuRate = Self.mean($0.cpuRate, rate) }
    }

    /// A GPU has decoded so much, in so much of its own time.
    ///
    /// - Parameter wasChosen: Nobody has asked for it; so it counts against its time.
    package func noteGPU(_ work: DecodingStatistics.Work, wasChosen: Bool = true) {
        guard let rate = Self.rate(of: work) else { return }
        state.withLock { state in
            if wasChosen {
                // What it was expected to take was taken off when it was chosen.
                let expected = state.gpuRate > 0 ? Double(work.decodedBytes) / state.gpuRate : 0
                let most = state.mostCredit
                state.credit = min(most, max(-most, state.credit + expected - Double(work.nanoseconds)))
            }
            state.gpuRate = Self.mean(state.gpuRate, rate)
        }
    }

    /// A GPU could not decode what it was given. It is left alone for a while.
    package func noteFailure() {
        state.withLock { state in
            state.gpuRate = 0
            state.nextTrial = linux_monotonic_ns() + UInt64(Self.longestTrialInterval)
        }
    }

    /// Decoded bytes each nanosecond; nil: it was not measured.
    private static func rate(of work: DecodingStatistics.Work) -> Double? {
        work.decodedBytes > 0 && work.nanoseconds > 0 ? Double(work.decodedBytes) / Double(work.nanoseconds) : nil
    }

    private static func mean(_ old: Double, _ new: Double) -> Double {
        old == 0 ? new : old + (new - old) * weight
    }
}

extension DecodingChooser.State {
    /// What may be saved up of the GPU's time, in nanoseconds, and be owed of it.
    fileprivate var mostCredit: Double { policy.gpuTimeShare * DecodingChooser.savedSeconds * 1e9 }

    fileprivate mutating func choosesGPU(_ bytes: Int, _ width: Int) -> Bool {
        let now = linux_monotonic_ns()
        let most = mostCredit
        credit = filledAt == 0 ? most : min(most, credit + policy.gpuTimeShare * Double(now - filledAt))
        filledAt = now
        // The workers first: without knowing them there is nothing to compare with.
        guard credit > 0, cpuRate > 0 else { return false }
        let host = cpuRate * Double(width)
        if gpuRate > host {
            let expected = Double(bytes) / gpuRate
            guard expected <= credit else { return false }
            credit -= expected
            return true
        }
        guard now >= nextTrial, bytes >= DecodingChooser.trialBytes else { return false }
        // Set before the trial: requests of the meantime do not know how it ends.
        let wait = gpuRate == 0 ? 1 : host / gpuRate
        nextTrial = now + UInt64(min(DecodingChooser.trialInterval * wait, DecodingChooser.longestTrialInterval))
        return true
    }
}

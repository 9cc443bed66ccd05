import Penstock
import PenstockArchive
import PenstockVulkan
import Synchronization

/// Streams all of an archive, about a MiB with each call and several calls at once, into memory that is used again.
struct ArchiveStreaming: Sendable {
    /// What has come of it.
    struct Outcome: Sendable {
        var entries = 0
        var bytes: UInt64 = 0
        var failures: [ArchiveError] = []
        /// Entries that were not the same when read back.
        var different = 0
        /// Of each call, in nanoseconds.
        var latency = LatencyHistogram()

        mutating func merge(_ other: Outcome) {
            entries += other.entries
            bytes += other.bytes
            failures += other.failures
            different += other.different
        }
    }

    /// A part of an entry, and where in a call's memory it goes.
    private struct Part: Sendable {
        let entry: ArchiveEntry
        let offset: UInt64
        let place: Range<Int>
        var isLast: Bool { offset + UInt64(place.count) == entry.size }
    }

    /// Memory of a call's own.
    private enum Memory: Sendable {
        case host(HostBuffer)
        case gpu(GPUBuffer)
    }

    /// Bytes with each call.
    private static let callSize = 1 << 20
    /// Calls at once.
    private static let calls = 4
    /// What copies and decoders on GPUs like.
    private static let alignment = 16

    private let queue: StorageQueue
    private let archive: StorageArchive
    private let readsBack: Bool
    private let plan: [[Part]]
    private let memories: [Memory]

    init(_ archive: StorageArchive, device: GPUDevice?, readsBack: Bool) async throws {
        self.archive = archive
        self.readsBack = readsBack
        queue = archive.queue
        plan = Self.plan(archive)
        var memories: [Memory] = []
        for _ in 0..<min(Self.calls, max(1, plan.count)) {
            if let device {
                memories.append(.gpu(try device.makeBuffer(byteCount: Self.callSize)))
            } else {
                memories.append(.host(try await archive.queue.allocate(byteCount: Self.callSize)))
            }
        }
        self.memories = memories
    }

    private static func plan(_ archive: StorageArchive) -> [[Part]] {
        var plan: [[Part]] = []
        var call: [Part] = []
        var end = 0
        for entry in archive.entries {
            var offset: UInt64 = 0
            repeat {
                if end >= callSize {
                    plan.append(call)
                    (call, end) = ([], 0)
                }
                let count = Int(min(entry.size - offset, UInt64(callSize - end)))
                call.append(Part(entry: entry, offset: offset, place: end..<end + count))
                offset += UInt64(count)
                end = (end + count + alignment - 1) / alignment * alignment
            } while offset < entry.size
        }
        if !call.isEmpty { plan.append(call) }
        return plan
    }

    /// Streams everything; ends early after Ctrl-C.
    func run(_ bar: ArchiveBar) async -> Outcome {
        let next = Cursor()
        return await withTaskGroup(of: (outcome: Outcome, latencies: [UInt64]).self) { group in
            for memory in memories {
                group.addTask {
                    var sum = Outcome()
                    var latencies: [UInt64] = []
                    while !Interrupt.isRequested, let index = next.next(below: plan.count) {
                        let (outcome, latency) = await stream(plan[index], into: memory)
                        sum.merge(outcome)
                        latencies.append(latency)
                        bar.advance(by: outcome.bytes)
                    }
                    return (sum, latencies)
                }
            }
            var all = Outcome()
            for await (outcome, latencies) in group {
                all.merge(outcome)
                latencies.forEach { all.latency.record($0) }
            }
            return all
        }
    }

    private func stream(_ parts: [Part], into memory: Memory) async -> (Outcome, nanoseconds: UInt64) {
        var outcome = Outcome()
        let start = Clock.wall()
        let reads = parts.map { part in
            switch memory {
            case .host(let buffer): ArchiveRead(part.entry, at: part.offset, into: buffer[part.place])
            case .gpu(let buffer): ArchiveRead(part.entry, at: part.offset, into: buffer[part.place])
            }
        }
        let results = await archive.perform(reads)
        let nanoseconds = Clock.wall() - start
        for (part, result) in zip(parts, results) {
            switch result {
            case .success(let count):
                outcome.bytes += UInt64(count)
                if part.isLast { outcome.entries += 1 }
            case .failure(let error): outcome.failures.append(error)
            }
        }
        if readsBack, case .gpu(let buffer) = memory { outcome.different = await different(parts, results, buffer) }
        return (outcome, nanoseconds)
    }

    /// How many of the parts that have arrived differ from what the workers decode into host memory.
    private func different(
        _ parts: [Part], _ results: [Result<Int, ArchiveError>], _ buffer: GPUBuffer
    ) async -> Int {
        guard let back = try? await queue.allocate(byteCount: Self.callSize),
            let fresh = try? await queue.allocate(byteCount: Self.callSize),
            (try? await queue.write(buffer[...], to: back[...])) == Self.callSize
        else { return parts.count }
        let again = await archive.perform(
            parts.map { ArchiveRead($0.entry, at: $0.offset, into: fresh[$0.place]) })
        var count = 0
        for (index, part) in parts.enumerated() {
            guard case .success = results[index] else { continue }
            let isSame = back[part.place].withUnsafeBytes { back in
                fresh[part.place].withUnsafeBytes { fresh in back.elementsEqual(fresh) }
            }
            if case .failure = again[index] { count += 1 } else if !isSame { count += 1 }
        }
        return count
    }
}

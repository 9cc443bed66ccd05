import Penstock
import Synchronization

/// Something for a queue's workers to do in parts, each of them on any worker and in any order, while a task waits.
class PartedWork: @unchecked Sendable {  // `next` is guarded by the workers' lock; the rest says what guards it
    /// How many parts there are; at least one.
    let partCount: Int
    /// The workers' lock guards it.
    final var priority: StoragePriority
    /// The priority rises with that of the task that waits.
    let followsTask: Bool
    let tag: UInt64
    /// When parts that have not begun are left out.
    let deadline: ContinuousClock.Instant?
    /// The first part that nobody has begun. The workers' lock guards it.
    final var next = 0
    /// Parts that have not ended. The one that ends the last of them resumes the task.
    private let left: Atomic<Int>
    private let refusal = Atomic<UInt8>(StorageError.Code.Kind.none.rawValue)
    // Written before the work is handed to the workers.
    private var continuation: UnsafeContinuation<Void, Never>?

    init(
        partCount: Int, priority: StoragePriority, followsTask: Bool = false, tag: UInt64,
        deadline: ContinuousClock.Instant?
    ) {
        precondition(partCount > 0, "there is nothing to wait for")
        self.partCount = partCount
        self.priority = priority
        self.followsTask = followsTask
        self.tag = tag
        self.deadline = deadline
        left = Atomic(partCount)
    }

    /// Does a part. A worker calls this, several of them at once with different parts.
    func perform(_ part: Int, _ scratch: borrowing WorkerScratch) { fatalError("work says what it does") }

    /// Why the work is not to go on; nil: it is. Parts that have not begun then end without having done anything.
    final var refused: StorageError.Code? {
        let kind = StorageError.Code.Kind(rawValue: refusal.load(ordering: .acquiring))!
        if kind != .none { return .init(kind) }
        if let deadline, deadline <= .now { return .deadlineExceeded }
        return nil
    }

    /// Has the work end early; the first reason counts.
    final func refuse(_ code: StorageError.Code) {
        _ = refusal.compareExchange(
            expected: StorageError.Code.Kind.none.rawValue, desired: code.kind.rawValue,
            ordering: .acquiringAndReleasing)
    }

    final func suspend(_ continuation: UnsafeContinuation<Void, Never>) { self.continuation = continuation }

    /// So many parts have ended; with the last one, the task goes on, perhaps before this returns.
    final func end(_ parts: Int) {
        guard parts > 0, left.subtract(parts, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        continuation!.resume()
    }

    /// Whether all parts have ended; orders what they wrote before what the caller reads.
    final var hasEnded: Bool { left.load(ordering: .acquiring) == 0 }
}

/// A worker's own memory, used again from part to part.
struct WorkerScratch: ~Copyable {
    /// Where encoded bytes land.
    let encoded = ScratchBuffer()
    /// Where chunks are decoded of which only a part is wanted, or whose destination is slow to read.
    let decoded = ScratchBuffer()
}

/// Memory that grows as it must and shrinks to a little afterwards.
final class ScratchBuffer {
    /// What is kept between uses: a processor's second cache holds both of a worker's.
    private static let largestKept = 1 << 20
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    deinit { memory.deallocate() }

    /// Calls `body` with at least one byte of memory, `count` if that is more; of unspecified content.
    func withBytes<R>(_ count: Int, _ body: (UnsafeMutableRawBufferPointer) -> R) -> R {
        if memory.count < max(1, count) {
            memory.deallocate()
            // A cache line's alignment is what decoders like.
            memory = .allocate(byteCount: max(64 << 10, count), alignment: 64)
        }
        defer {
            if memory.count > Self.largestKept {
                memory.deallocate()
                memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
            }
        }
        return body(UnsafeMutableRawBufferPointer(rebasing: memory[0..<count]))
    }
}

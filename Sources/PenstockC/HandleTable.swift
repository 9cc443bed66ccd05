import Penstock
import Synchronization

/// Numbers that stand for objects: a closed handle, or one that never was, is found out, which a pointer could not be.
///
/// In shards, each with a lock, so that threads that use different queues do not meet.
final class HandleTable<Object: AnyObject & Sendable>: Sendable {
    private struct Shard {
        var slots: [(generation: UInt32, object: Object?)] = []
        var free: [UInt32] = []
    }

    private static var shardBits: UInt64 { 4 }
    private static var shardCount: Int { 1 << shardBits }
    private static var shardMask: UInt64 { (1 << shardBits) - 1 }

    private let shards: [Locked<Shard>] = (0..<shardCount).map { _ in Locked(Shard()) }
    private let turn = Atomic<UInt64>(0)

    /// The object's number: never zero, and never again another object's.
    func insert(_ object: Object) -> UInt64 {
        let shard = turn.wrappingAdd(1, ordering: .relaxed).newValue & Self.shardMask
        return shards[Int(shard)].withLock { state in
            let index = state.free.popLast() ?? UInt32(state.slots.count)
            if Int(index) == state.slots.count { state.slots.append((generation: 0, object: nil)) }
            state.slots[Int(index)].generation += 1
            state.slots[Int(index)].object = object
            return UInt64(state.slots[Int(index)].generation) << 32 | UInt64(index) << Self.shardBits | shard
        }
    }

    func find(_ id: UInt64) -> Object? {
        shards[Int(id & Self.shardMask)].withLock { state in
            Self.index(id, in: state).flatMap { state.slots[$0].object }
        }
    }

    /// Takes the object out: of several callers, one gets it.
    func remove(_ id: UInt64) -> Object? {
        shards[Int(id & Self.shardMask)].withLock { state in
            guard let index = Self.index(id, in: state), let object = state.slots[index].object else { return nil }
            state.slots[index].object = nil
            // A number whose generations are used up is not given out again.
            if state.slots[index].generation < .max { state.free.append(UInt32(index)) }
            return object
        }
    }

    private static func index(_ id: UInt64, in state: Shard) -> Int? {
        let index = Int((id & 0xFFFF_FFFF) >> shardBits)
        guard index < state.slots.count, state.slots[index].generation == UInt32(id >> 32) else { return nil }
        return index
    }
}

/// What the process's handles stand for. Global because a stale handle names no runtime that could be asked.
enum Handles {
    static let runtimes = HandleTable<Runtime>()
    static let queues = HandleTable<HostedQueue>()
    static let files = HandleTable<HostedFile>()
}

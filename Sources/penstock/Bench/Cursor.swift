import Synchronization

/// The next piece of work, and the bytes done, for tasks that share a list.
final class Cursor: Sendable {
    private let position = Atomic<Int>(0)
    private let sum = Atomic<Int>(0)

    func next(below count: Int) -> Int? {
        let index = position.wrappingAdd(1, ordering: .relaxed).oldValue
        return index < count ? index : nil
    }

    func add(_ bytes: Int) { sum.wrappingAdd(bytes, ordering: .relaxed) }

    var bytes: UInt64 { UInt64(sum.load(ordering: .relaxed)) }
}

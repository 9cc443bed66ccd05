import Penstock

/// What a codec works with, each in one call's hands at a time and kept for the next one: contexts are large, and setting
/// one up costs more than decoding a small chunk.
final class ContextStore<Context>: Sendable {
    private let kept = Locked<[Context]>([])
    private let mostKept: Int
    private let make: @Sendable () -> Context?
    private let free: @Sendable (Context) -> Void

    /// - Parameters:
    ///   - mostKept: No more are kept than calls that have gone on at once, nor than this.
    ///   - make: Nil if there is no memory.
    init(
        mostKept: Int = 64, make: @escaping @Sendable () -> Context?, free: @escaping @Sendable (Context) -> Void
    ) {
        self.mostKept = mostKept
        self.make = make
        self.free = free
    }

    deinit { kept.withLock { $0.forEach(free) } }

    func withContext<Result>(
        _ body: (Context) throws(CodecError) -> Result
    ) throws(CodecError) -> Result {
        guard let context = kept.withLock({ $0.popLast() }) ?? make() else {
            throw CodecError(.outOfMemory, "There is no memory for the codec's tables")
        }
        defer {
            let isKept = kept.withLock { kept in
                guard kept.count < mostKept else { return false }
                kept.append(context)
                return true
            }
            if !isKept { free(context) }
        }
        return try body(context)
    }
}

extension ContextStore {
    /// Contexts of our own, each at an address of its own, as they cannot be copied.
    convenience init<Value: ~Copyable>(
        mostKept: Int, of make: @escaping @Sendable () -> Value?
    ) where Context == UnsafeMutablePointer<Value> {
        self.init(
            mostKept: mostKept,
            make: {
                guard let value = make() else { return nil }
                let context = UnsafeMutablePointer<Value>.allocate(capacity: 1)
                context.initialize(to: value)
                return context
            },
            free: { context in
                context.deinitialize(count: 1)
                context.deallocate()
            })
    }
}

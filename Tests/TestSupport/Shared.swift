import Penstock

/// A value that many tasks change.
package final class Shared<Value: Sendable>: Sendable {
    private let value: Locked<Value>

    package init(_ value: Value) { self.value = Locked(value) }

    package var now: Value { value.withLock { $0 } }

    package func change(_ body: (inout Value) -> Void) { value.withLock { body(&$0) } }
}

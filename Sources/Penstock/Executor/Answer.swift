import Synchronization

/// One value that another thread gives to a suspended task.
///
/// A continuation carries values too, but the thread sanitizer cannot see that its runtime orders them; this can be seen,
/// and costs a flag.
final class Answer<Value: Sendable>: @unchecked Sendable {  // written before `isGiven` is, read after
    private var value: Value?
    private var continuation: UnsafeContinuation<Void, Never>?
    private let isGiven = Atomic<Bool>(false)

    private init() {}

    /// Calls `ask`, and suspends the task until the answer has been given.
    static func wait(_ ask: (Answer<Value>) -> Void) async -> Value {
        let answer = Answer()
        await withUnsafeContinuation { continuation in
            answer.continuation = continuation
            ask(answer)
        }
        precondition(answer.isGiven.load(ordering: .acquiring), "resumed without an answer")
        return answer.value!
    }

    /// Gives the answer, exactly once; the task may run before this returns.
    func give(_ value: Value) {
        self.value = value
        isGiven.store(true, ordering: .releasing)
        continuation!.resume()
    }
}

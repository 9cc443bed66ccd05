import Dispatch
import Glibc

/// Runs `body` in a task that Ctrl-C cancels. The second Ctrl-C ends the program at once.
func stopOnInterrupt<R: Sendable>(_ body: @escaping @Sendable () async -> R) async -> R {
    let task = Task { await body() }
    let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
    source.setEventHandler {
        task.cancel()
        signal(SIGINT, SIG_DFL)
    }
    // Dispatch only watches; without this, the signal would still end the program.
    signal(SIGINT, SIG_IGN)
    source.resume()
    defer {
        source.cancel()
        signal(SIGINT, SIG_DFL)
    }
    return await task.value
}

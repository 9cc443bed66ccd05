import Glibc
import Synchronization

/// Ctrl-C as a request to stop: the first one sets a flag, so that long work ends at the next good place and reports
/// what it has; the second one ends the process, as it always did.
enum Interrupt {
    private static let requested = Atomic<Bool>(false)

    /// Whether Ctrl-C has been pressed since ``install()``. One relaxed load: ask as often as you like.
    static var isRequested: Bool { requested.load(ordering: .relaxed) }

    /// Installs the handler. Call it once, before long work starts.
    static func install() {
        // The handler must not be the first to touch the flag: Swift initialises globals lazily, under a lock.
        _ = isRequested

        var current = sigaction()
        guard sigaction(SIGINT, nil, &current) == 0 else { return }
        // Whoever started us with SIGINT ignored (nohup, a shell's background job) wants it ignored.
        guard unsafeBitCast(current.__sigaction_handler.sa_handler, to: Int.self) != ignored else { return }

        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in Interrupt.requested.store(true, ordering: .relaxed) }
        // RESETHAND gives the second Ctrl-C its default meaning, with the exit status that shells expect. RESTART
        // spares every system call in flight an EINTR.
        action.sa_flags = SA_RESTART | CInt(truncatingIfNeeded: SA_RESETHAND)
        sigaction(SIGINT, &action, nil)
    }

    /// Throws ``Interrupted`` if Ctrl-C has been pressed.
    static func check() throws(Interrupted) {
        if isRequested { throw Interrupted() }
    }

    /// `SIG_IGN`, a cast in C that Swift does not import.
    private static let ignored = 1
}

/// Work that stopped because Ctrl-C was pressed.
struct Interrupted: Error, CustomStringConvertible {
    var description: String { "interrupted" }
}

import CLinux
import Glibc
import SystemPackage

/// What a host has run at the beginning and at the end of a thread that calls its code.
package struct ThreadHooks: Sendable {
    package let start: @Sendable () -> Void
    package let stop: @Sendable () -> Void

    package init(start: @escaping @Sendable () -> Void, stop: @escaping @Sendable () -> Void) {
        self.start = start
        self.stop = stop
    }
}

/// A POSIX thread with a name and a body.
package struct RingThread: @unchecked Sendable {
    // `pthread_t` is an integer here; the thread it names is joined or detached exactly once by its owner.
    private let thread: pthread_t

    private final class Start {
        let name: String
        let body: () -> Void
        init(name: String, body: @escaping () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Starts a thread. The kernel shows the first 15 bytes of its name.
    package init(name: String, _ body: @escaping @Sendable () -> Void) throws(StorageError) {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let result = pthread_create(
            &thread, nil,
            { argument in
                let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                linux_name_thread(String(decoding: start.name.utf8.prefix(15), as: UTF8.self))
                start.body()
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw StorageError(
                .unavailable, .setUp, errno: .init(rawValue: result),
                message: "no thread could be started; raise `ulimit -u` or the container's pids limit")
        }
        self.thread = thread
    }

    package func join() { pthread_join(thread, nil) }
    package func detach() { pthread_detach(thread) }
    package var isCurrent: Bool { pthread_equal(thread, pthread_self()) != 0 }

    package static var currentID: UInt { UInt(pthread_self()) }

    /// One of `count` (a power of two) shards, the same for every call of a thread.
    static func currentShard(of count: Int) -> Int {
        // Thread descriptors are pages apart; the multiplication spreads their middle bits.
        Int((UInt64(currentID >> 12) &* 0x9E37_79B9_7F4A_7C15) >> 32) & (count - 1)
    }
}

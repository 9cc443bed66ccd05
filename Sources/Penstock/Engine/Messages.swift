import CLinux

/// Asks for a submission to end early.
final class Cancellation: InboxMessage {
    let submission: Submission
    let generation: UInt64

    init(_ submission: Submission, generation: UInt64) {
        self.submission = submission
        self.generation = generation
    }

    override func receive(in engine: Engine) {
        if submission.generation == generation { engine.cancel(submission) }
    }

    override func refuse() {}
}

/// The priority of the task behind a submission has risen.
final class Escalation: InboxMessage {
    let submission: Submission
    let generation: UInt64
    let priority: StoragePriority

    init(_ submission: Submission, generation: UInt64, to priority: StoragePriority) {
        self.submission = submission
        self.generation = generation
        self.priority = priority
    }

    override func receive(in engine: Engine) {
        if submission.generation == generation { engine.escalate(submission, to: priority) }
    }

    override func refuse() {}
}

/// Something for the ring thread to do, with an answer for when the queue has shut down.
final class Errand: InboxMessage {
    private let run: (Engine) -> Void
    private let refused: () -> Void

    init(_ run: @escaping @Sendable (Engine) -> Void, refused: @escaping @Sendable () -> Void) {
        self.run = run
        self.refused = refused
    }

    override func receive(in engine: Engine) { run(engine) }
    override func refuse() { refused() }
}

/// A call of ``StorageFile/close()``.
final class FileClosing: InboxMessage {
    let file: StorageFile
    let done: @Sendable (Int32) -> Void

    init(_ file: StorageFile, done: @escaping @Sendable (Int32) -> Void) {
        self.file = file
        self.done = done
    }

    override func receive(in engine: Engine) { engine.close(self) }
    override func refuse() {
        // Nothing is in flight any more; the descriptors go with the last reference.
        done(0)
    }
}

/// The descriptors of a file whose last reference has gone.
final class FileRetirement: InboxMessage {
    let descriptor: Int32
    let onRing: StorageFile.OnRing

    init(descriptor: Int32, onRing: StorageFile.OnRing) {
        self.descriptor = descriptor
        self.onRing = onRing
    }

    override func receive(in engine: Engine) { engine.retire(self) }

    override func refuse() {
        // A simulated disk has gone with its driver, and its descriptors are negative.
        if onRing.descriptorIsOpen, descriptor >= 0 { _ = linux_close(descriptor) }
        if onRing.directDescriptor >= 0 { _ = linux_close(onRing.directDescriptor) }
    }
}

/// What requests can have as their destination or source instead of host memory: a GPU. One object for each, however many
/// queues use it.
package protocol SinkDevice: AnyObject, Sendable {
    /// Makes what a queue needs to use the device. Called once for each queue, on whatever thread asks first.
    func makeSink(_ environment: SinkEnvironment) throws(StorageError) -> any StorageSink
    /// Whether its sinks decode pages of this format (``SinkDecoding``): a codec's identifier. The first call may take as
    /// long as making a shader does, which is some milliseconds, or a hundred.
    func canDecode(_ format: UInt32) -> Bool
    /// Whether its driver decodes pages of this format by itself, if they are verified (``SinkDecoding/isVerified``).
    func decompresses(_ format: UInt32) -> Bool
    /// The device is software on the host's own processors.
    var isHost: Bool { get }
}

extension SinkDevice {
    package func canDecode(_ format: UInt32) -> Bool { false }
    package func decompresses(_ format: UInt32) -> Bool { false }
    package var isHost: Bool { false }
}

/// What a sink may know of its queue.
package struct SinkEnvironment: Sendable {
    /// Of the queue; for logs and thread names.
    package let name: String
    /// Memory for bytes that are on their way, at most.
    package let stagingBytes: Int
    /// Where that comes from, unless the device must allocate it.
    package let slabSource: SlabSource
    /// Has the ring thread take another turn. From any thread, until ``StorageSink/close()`` has returned.
    package let wake: @Sendable () -> Void
}

/// Takes bytes further from where they land: from staging memory to a device, or the other way. One for each queue and
/// device.
///
/// A sink never decides what is moved when: it moves what it is told to, as few commands as it can, and says what is done.
/// The engine's thread makes every call that is not marked otherwise.
package protocol StorageSink: AnyObject, Sendable {
    /// Where bytes land. Any thread.
    var staging: SlabArena { get }
    /// On which rung it stands. Any thread.
    var features: [Capabilities.Feature] { get }

    /// Accepts work, which ends with exactly one result in ``reap(_:)``. A block on its way to the device is the sink's
    /// from now on, and goes back to ``staging`` when the device is done with it.
    ///
    /// - Parameter copies: What the work consists of; only valid during the call.
    func accept(_ work: SinkWork, _ copies: UnsafeBufferPointer<SinkCopy>)
    /// Has work that has not gone to the device yet end, as cancelled.
    func withdraw(_ token: UInt32)
    /// The queue shuts down: nothing may go on waiting for somebody outside.
    func stop()
    /// Hands what was accepted to the device; called at the end of each turn.
    func flush()
    /// Calls back for all work that has ended.
    func reap(_ body: (SinkResult) -> Void)
    /// Whether anything is accepted or on the device, including work whose result has been reaped before the device was
    /// done with it.
    var isBusy: Bool { get }
    /// Waits for something to end, if that may well be within the time, in nanoseconds. Quicker than being woken.
    func waitBriefly(_ nanoseconds: UInt64)
    /// Whether ``reap(_:)`` would find something. No lock, no system call.
    var hasResults: Bool { get }
    /// The thread is about to sleep: it must be woken when something ends, and at once if something is to be done already.
    func armWakeUp()
    /// Nothing is in flight; the thread ends.
    func close()
}

/// Bytes of requests, for a sink: of a piece that has landed, or of a whole batch.
package struct SinkWork {
    /// Names the work in its result.
    package var token: UInt32
    /// Into the device's memory, or out of it.
    package var intoDevice: Bool
    /// Where the bytes landed, or shall; of ``StorageSink/staging``. Nil: there are none, and the work is to end a request.
    package var block: SlabArena.Block?
    /// Everything else of its request has been accepted.
    package var isLast: Bool
    /// The request has failed: what was begun for it is to be left in order, and nobody to be told that it is done.
    package var isFailed = false
    /// There is nothing to move: it ends as soon as what its request waits for has been reached, before the request takes any
    /// memory, which others may need for just that.
    package var isGate = false
}

/// One stretch of bytes between staging memory and a device's.
package struct SinkCopy {
    package var target: SinkTarget
    /// Where the stretch starts in its request, in bytes.
    package var start: Int
    package var count: Int
    /// In the work's block.
    package var memory: UnsafeMutableRawPointer
}

/// What became of a piece.
package struct SinkResult {
    package var token: UInt32
    package var failure = StorageError.Code.Kind.none
    /// What the device's interface said, if it was that; a `VkResult`.
    package var deviceResult: Int32 = 0

    package init(token: UInt32, failure: StorageError.Code.Kind = .none, deviceResult: Int32 = 0) {
        self.token = token
        self.failure = failure
        self.deviceResult = deviceResult
    }
}

/// Memory of a device, as its sink knows it. Plain data: the call it belongs to keeps the memory alive.
package struct SinkTarget {
    /// The sink's own name for it, such as a `VkBuffer`.
    package var handle: UInt64
    /// Where in it, in bytes.
    package var offset: UInt64
    package var options: Unmanaged<SinkOptions>?

    package init(handle: UInt64, offset: UInt64, options: SinkOptions? = nil) {
        self.handle = handle
        self.offset = offset
        self.options = options.map(Unmanaged.passUnretained)
    }
}

/// What few requests need. The sink of one that has them is told when all its pieces have been accepted, or will not be.
package final class SinkOptions: Sendable {
    /// Where pieces may be cut; nil: anywhere.
    package let layout: (any SinkLayout)?
    /// For the sink.
    package let details: any AnyObject & Sendable
    /// It has others to wait for, or to tell: it cannot share a batch.
    package let isSynchronized: Bool
    /// It has others to wait for: see ``SinkWork/isGate``.
    package let waits: Bool
    /// What the bytes hold, if the sink is to decode them; only of a device that can.
    package let decoding: SinkDecoding?

    /// - Parameter decoding: If there is one, it is the layout too.
    package init(
        layout: (any SinkLayout)? = nil, details: any AnyObject & Sendable, isSynchronized: Bool,
        waits: Bool = false, decoding: SinkDecoding? = nil
    ) {
        self.layout = decoding ?? layout
        self.details = details
        self.decoding = decoding
        self.waits = waits
        // Its device takes as much at a time as it has room for, which has to be a piece of one request.
        self.isSynchronized = isSynchronized || decoding != nil
    }
}

/// Where a request may be cut into pieces.
package protocol SinkLayout: Sendable {
    /// How many bytes the piece that starts at `start` has: at most `limit`, unless the smallest possible one has more.
    func pieceLength(at start: Int, limit: Int) -> Int
    /// How many of `count` bytes from `start` on the device can take, when a file has ended early.
    func wholeBytes(from start: Int, count: Int) -> Int
    /// Of a piece's place in staging memory, in bytes; divides 4096 where anything but the block's start will do.
    var offsetAlignment: Int { get }
}

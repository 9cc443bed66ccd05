/// One request on its way: plain data in memory that its submission owns, so that the ring thread touches no reference
/// count. The caller is suspended, and keeps the file and the memory alive, until the request has ended.
struct RequestRecord {
    enum Direction: UInt8 { case read, write }

    /// What the request ended with.
    struct Outcome {
        var count = 0
        var failure: StorageError.Code.Kind = .none
        /// The kernel's word, if it was the kernel; positive.
        var errno: Int32 = 0
        /// A device's word, if it was a device.
        var deviceResult: Int32 = 0
    }

    /// Nil: the bytes are in memory and only go on to a sink, or come from one.
    var file: Unmanaged<StorageFile>?
    /// The caller's memory; of no meaning for a request with a sink.
    var address: UnsafeMutableRawPointer
    var offset: UInt64
    var length: Int
    var tag: UInt64 = 0
    /// Nanoseconds after the submission; `.max`: none.
    var deadline: UInt64 = .max
    var direction: Direction
    var priority: StoragePriority
    /// The priority is the task's, and rises with it.
    var followsTask = false
    /// The arena slab that `address` lies in; −1: memory from elsewhere.
    var slab: Int32 = -1
    /// The number of the sink that the bytes go on to, or come from; −1: they stay in the caller's memory.
    var sink: Int8 = -1
    var target = SinkTarget(handle: 0, offset: 0)
    /// The memory is mapped from a device: the kernel cannot pin it for direct I/O.
    var mustBuffer = false
    /// The inline path found the pages missing.
    var isCold = false
    /// Where the request stands in the caller's list, which priorities may have re-ordered.
    var index: Int32 = 0
    /// How many requests of the list, from `index` on, this one stands for.
    var mergedCount: Int32 = 1
    /// Goes around the page cache and is small, so that merging it with its neighbours helps.
    var mayMerge = false

    // The engine's part.
    /// The scheduler's entry that the request is part of.
    var entry = Scheduler.EntryID(index: -1)
    /// Bytes handed to pieces.
    var issued = 0
    /// Bytes there are, as far as is known: less than `length` once a piece met the end of the file.
    var end: Int
    var piecesInFlight: Int32 = 0
    /// How many of them are a sink's now.
    var piecesInSink: Int32 = 0
    /// A sink has had some of it.
    var wasInSink = false
    /// The sink knows that there is no more of it.
    var sinkHasEnd = false
    var hasEnded = false
    /// Why it has been asked to end early.
    var cancelReason: StorageError.Code.Kind = .none
    var usedDirect = false
    var firstIssuedAt: UInt64 = 0
    var outcome = Outcome()

    init(
        _ direction: Direction, file: StorageFile?, address: UnsafeMutableRawPointer, offset: UInt64, length: Int,
        priority: StoragePriority
    ) {
        self.direction = direction
        self.file = file.map(Unmanaged.passUnretained)
        self.address = address
        self.offset = offset
        self.length = length
        self.priority = priority
        end = length
    }
}

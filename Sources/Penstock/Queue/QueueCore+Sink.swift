import CLinux
import Glibc
import Synchronization
import SystemPackage

/// Requests to and from devices, on the caller's side.
extension QueueCore {
    /// The number of the device's sink.
    package func sinkIndex(of device: any SinkDevice) throws(StorageError) -> Int {
        try sinks.index(of: device) { () throws(StorageError) in
            // Weakly: the engine keeps its sinks, and must not be kept by them.
            let wake: @Sendable () -> Void = { [weak engine] in engine?.wake() }
            return try device.makeSink(
                SinkEnvironment(
                    name: configuration.name, stagingBytes: configuration.stagingBytes,
                    slabSource: configuration.slabSource, wake: wake))
        }
    }

    var allCapabilities: Capabilities {
        var features = capabilities.features
        for index in 0..<sinks.count { features += sinks[index].features }
        return Capabilities(driver: capabilities.driver, features: features)
    }

    func sinkIndex(of slice: SinkSlice) throws(StorageError) -> Int {
        if let index = sinks.find(slice.deviceID) { return index }
        return try sinkIndex(of: slice.memory.sinkDevice)
    }

    /// Calls `body` with the device's sink, on the ring thread.
    package func withSink<T: Sendable>(
        of device: any SinkDevice, _ body: @escaping @Sendable (any StorageSink) -> T
    ) async throws(StorageError) -> T {
        let index = try sinkIndex(of: device)
        return try await errand(.copy) { engine, done in done(.success(body(engine.sinks[index]))) }
    }

    /// Reads from a file into a device's memory.
    package func read(
        _ file: StorageFile, _ offset: UInt64, into slice: SinkSlice, _ options: RequestOptions
    ) async throws(StorageError) -> Int {
        // Kept flat, like the host's: see ``perform(_:_:after:_:mustBuffer:)``.
        if let memory = slice.mapped, file.caching != .direct,
            let count = try await readMapped(file, offset, slice, memory, options)
        {
            return count
        }
        var options = options
        if slice.options?.waits == true {
            _ = try Transfer(.read, file, offset, slice, core: self)
            try await passGate(slice, .read, &options)
        }
        let submission: Submission
        switch try beginRead(file, offset, slice, options) {
        case .over: return 0
        case .ready(let ready): submission = ready
        case .starved(let transfer, let index):
            // With staging memory a cached read is still cheaper here than on the ring thread.
            let block = try await take(transfer.length, from: sinks[index].staging, .read, path: file.path)
            submission = try beginRead(transfer, slice, index, block, options)
        }
        if submission.landing != nil, slice.options == nil, !engine.isBacklogged.load(ordering: .relaxed) {
            // On its way as soon as the ring thread sees it: there is nothing to cancel and nothing to hurry.
            await withUnsafeContinuation { send(submission, $0) }
            precondition(submission.hasEnded.load(ordering: .acquiring), "resumed before the end")
        } else {
            await run(submission)
        }
        return try finish(submission, asked: slice.count)
    }

    /// How far a read into a device's memory has come without suspending its task.
    private enum Begun {
        /// There is nothing to read.
        case over
        /// To be sent to the ring thread.
        case ready(Submission)
        /// It may be cached, and there is no staging memory to look.
        case starved(Transfer, sink: Int)
    }

    /// Checks a read into a device's memory, and does what can be done of it at once.
    @inline(never)
    private func beginRead(
        _ file: StorageFile, _ offset: UInt64, _ slice: SinkSlice, _ options: RequestOptions
    ) throws(StorageError) -> Begun {
        let transfer = try Transfer(.read, file, offset, slice, core: self)
        let index = try sinkIndex(of: slice)
        guard !Task.isCancelled else { throw cancelled(transfer, .read) }
        guard transfer.length > 0 else { return .over }
        if canLand(transfer, slice) {
            if let block = sinks[index].staging.take(transfer.length) {
                return .ready(try beginRead(transfer, slice, index, block, options))
            }
            // The ring thread gives memory by priority; those that matter, or have no time, wait there.
            let priority = options.priority ?? StoragePriority(Task.currentPriority)
            if priority <= .normal, options.deadlineNanoseconds == .max { return .starved(transfer, sink: index) }
        }
        return .ready(try beginRead(transfer, slice, index, nil, options))
    }

    private func beginRead(
        _ transfer: Transfer, _ slice: SinkSlice, _ index: Int, _ block: SlabArena.Block?, _ options: RequestOptions
    ) throws(StorageError) -> Submission {
        var landed = Landed()
        if let block { landed = try land(transfer, slice, block, sinks[index].staging) }
        var record = RequestRecord(
            .read, file: transfer.file, address: transfer.address, offset: transfer.offset,
            length: landed.count ?? transfer.length,
            priority: options.priority ?? StoragePriority(Task.currentPriority))
        record.sink = Int8(index)
        record.target = slice.target
        record.isCold = landed.isCold
        return prepare(record, landed.block, options)
    }

    /// Writes a device's memory into a file.
    package func write(
        _ slice: SinkSlice, _ file: StorageFile, _ offset: UInt64, _ options: RequestOptions
    ) async throws(StorageError) -> Int {
        let index = try sinkIndex(of: slice)
        let transfer = try Transfer(.write, file, offset, slice, core: self)
        guard !Task.isCancelled else { throw cancelled(transfer, .write) }
        guard transfer.length > 0 else { return 0 }
        var options = options
        try await passGate(slice, .write, &options)
        var record = RequestRecord(
            .write, file: file, address: transfer.address, offset: offset, length: transfer.length,
            priority: options.priority ?? StoragePriority(Task.currentPriority))
        record.sink = Int8(index)
        record.target = slice.target
        return try await perform(record, nil, asked: transfer.length, options)
    }

    /// Reads straight into memory that the device shows to the host; nil: the kernel refused that memory.
    private func readMapped(
        _ file: StorageFile, _ offset: UInt64, _ slice: SinkSlice, _ memory: UnsafeMutableRawPointer,
        _ options: RequestOptions
    ) async throws(StorageError) -> Int? {
        if let problem = slice.problem { throw problem.about(.read, file, offset) }
        let transfer = try Transfer(.read, file, offset, memory, slice.count, core: self)
        do throws(StorageError) {
            let inline = try readInline(transfer, options.priority)
            var count = inline.count
            if inline.isComplete {
                if inline.shouldYield { await Task.yield() }
            } else {
                count = try await perform(.read, transfer, after: inline, options, mustBuffer: true)
            }
            slice.memory.hostDidWrite(count, at: slice.offset)
            return count
        } catch  where error.code == .badAddress {
            slice.memory.refuseHostWrites()
            return nil
        }
    }

    /// Whether a request may be read into staging memory on its caller's thread.
    func canLand(_ transfer: Transfer, _ slice: SinkSlice) -> Bool {
        let limit = min(inlineLimit, configuration.pieceSize, Engine.largestStagedPiece)
        guard transfer.length <= limit, transfer.mayBeCached, configuration.ordering == .concurrent else {
            return false
        }
        guard let layout = slice.options?.layout else { return true }
        return layout.pieceLength(at: 0, limit: limit) == transfer.length
    }

    /// What the inline path has read into staging memory.
    struct Landed {
        /// Nil: nothing, and the ring has all of it to do.
        var block: SlabArena.Block?
        var count: Int?
        var isCold = false
    }

    /// Reads what is in the page cache into a block of staging memory, on the caller's thread. What is not all there goes
    /// to the ring thread, and the block back.
    private func land(
        _ transfer: Transfer, _ slice: SinkSlice, _ block: SlabArena.Block, _ staging: SlabArena
    ) throws(StorageError) -> Landed {
        var transfer = transfer
        transfer.address = block.address
        let inline: InlineResult
        do throws(StorageError) {
            inline = try readCached(transfer, .normal, isWhole: false)
        } catch {
            staging.release(block)
            throw error
        }
        var count = inline.count
        if count < transfer.length, let layout = slice.options?.layout {
            count = layout.wholeBytes(from: 0, count: count)
        }
        guard inline.isComplete, count > 0 else {
            staging.release(block)
            return Landed(isCold: inline.isCold)
        }
        return Landed(block: block, count: count)
    }

    /// Sends one request that has a sink to the ring thread, and waits for its end.
    ///
    /// - Parameter block: Where its bytes have landed, or shall be read back to; nil: the ring thread finds the memory.
    private func perform(
        _ record: RequestRecord, _ block: SlabArena.Block?, asked: Int, start: Int = 0, isPart: Bool = false,
        _ options: RequestOptions
    ) async throws(StorageError) -> Int {
        let submission = prepare(record, block, start: start, isPart: isPart, options)
        await run(submission)
        return try finish(submission, asked: asked)
    }

    private func prepare(
        _ record: RequestRecord, _ block: SlabArena.Block?, start: Int = 0, isPart: Bool = false, isGate: Bool = false,
        _ options: RequestOptions
    ) -> Submission {
        let submission = pool.take(1)
        var record = record
        record.followsTask = options.priority == nil
        record.tag = options.tag
        record.deadline = options.deadlineNanoseconds
        if isGate {
            submission.append(record, SinkCopy(target: record.target, start: 0, count: 0, memory: record.address))
            submission.landing = .init(sink: Int(record.sink), block: nil, isGate: true)
        } else if let block {
            submission.append(
                record,
                SinkCopy(target: record.target, start: start, count: record.length, memory: block.address))
            submission.landing = .init(sink: Int(record.sink), block: block, isPart: isPart)
        } else {
            submission.append(record)
        }
        submission.label = options.label
        return submission
    }

    private func finish(_ submission: Submission, asked: Int) throws(StorageError) -> Int {
        let outcome = submission.records[0].outcome
        let error =
            outcome.failure == .none ? nil : StorageError(outcome, submission.records[0], asked: asked)
        reclaim(submission)
        pool.giveBack(submission)
        if let error { throw error }
        return outcome.count
    }

    /// Takes back the staging memory of reads that no sink has accepted: a readback's is its caller's anyway.
    func reclaim(_ submission: Submission) {
        guard let landing = submission.landing, !landing.isHanded, submission.records[0].direction == .read,
            let block = landing.block
        else { return }
        sinks[landing.sink].staging.release(block)
    }

    // MARK: Without a file

    /// Copies host memory into a device's.
    package func copy(
        _ source: UnsafeRawPointer, into slice: SinkSlice, _ options: RequestOptions
    ) async throws(StorageError) -> Int {
        try check(slice)
        if let memory = slice.mapped {
            memory.copyMemory(from: source, byteCount: slice.count)
            slice.memory.hostDidWrite(slice.count, at: slice.offset)
            return slice.count
        }
        return try await copy(slice, .read, options) { block, range in
            block.address.copyMemory(from: source + range.lowerBound, byteCount: range.count)
        } after: { _, _ in
        }
    }

    /// Copies a device's memory into the host's.
    package func copy(
        _ slice: SinkSlice, to destination: UnsafeMutableRawPointer, _ options: RequestOptions
    ) async throws(StorageError) -> Int {
        try check(slice)
        let hasGaps = slice.options?.layout != nil
        return try await copy(slice, .write, options) { block, range in
            // A device leaves out what lies between an image's rows.
            if hasGaps { memset(block.address, 0, range.count) }
        } after: { block, range in
            (destination + range.lowerBound).copyMemory(from: block.address, byteCount: range.count)
        }
    }

    func check(_ slice: SinkSlice) throws(StorageError) {
        guard !isClosed.load(ordering: .relaxed) else { throw StorageError(.queueClosed, .copy, length: slice.count) }
        guard !Task.isCancelled else { throw StorageError(.cancelled, .copy, length: slice.count) }
        if let problem = slice.problem { throw problem }
    }

    /// Moves a slice piece by piece through staging memory that the caller's thread fills or empties.
    ///
    /// - Parameters:
    ///   - before: Fills a block that goes to the device.
    ///   - after: Empties a block that has come from the device.
    func copy(
        _ slice: SinkSlice, _ direction: RequestRecord.Direction, _ options: RequestOptions,
        before: (SlabArena.Block, Range<Int>) async throws(StorageError) -> Void,
        after: (SlabArena.Block, Range<Int>) -> Void
    ) async throws(StorageError) -> Int {
        let index = try sinkIndex(of: slice)
        let staging = sinks[index].staging
        var options = options
        try await passGate(slice, direction, &options)
        let begin = linux_monotonic_ns()
        var start = 0
        while start < slice.count {
            let limit = Engine.largestStagedPiece
            let count =
                slice.options?.layout?.pieceLength(at: start, limit: limit) ?? min(slice.count - start, limit)
            let block: SlabArena.Block
            do throws(StorageError) {
                block = try await filled(
                    count, from: staging, within: options.nanoseconds(leftSince: begin)
                ) { block throws(StorageError) in try await before(block, start..<start + count) }
            } catch {
                if start > 0, slice.options != nil { await endCopy(slice, direction, index) }
                throw error
            }
            var left = options
            left.deadlineNanoseconds = options.nanoseconds(leftSince: begin)
            var record = RequestRecord(
                direction, file: nil, address: block.address, offset: 0, length: count,
                priority: options.priority ?? StoragePriority(Task.currentPriority))
            record.sink = Int8(index)
            record.target = slice.target
            defer { if direction == .write { staging.release(block) } }
            do throws(StorageError) {
                _ = try await perform(
                    record, block, asked: slice.count, start: start, isPart: start + count < slice.count, left)
            } catch {
                if slice.options != nil { await endCopy(slice, direction, index) }
                throw error
            }
            after(block, start..<start + count)
            start += count
        }
        return slice.count
    }
}

extension QueueCore {
    /// A block of staging memory that has been filled.
    private func filled(
        _ count: Int, from staging: SlabArena, within nanoseconds: UInt64,
        _ fill: (SlabArena.Block) async throws(StorageError) -> Void
    ) async throws(StorageError) -> SlabArena.Block {
        let block = try await take(count, from: staging, .copy, path: nil, within: nanoseconds)
        do throws(StorageError) {
            try await fill(block)
            return block
        } catch {
            staging.release(block)
            throw error
        }
    }

    /// Waits until what a transfer waits for has been reached, with nothing in hand that others may need for just that.
    private func passGate(
        _ slice: SinkSlice, _ direction: RequestRecord.Direction, _ options: inout RequestOptions
    ) async throws(StorageError) {
        guard slice.options?.waits == true else { return }
        let begin = linux_monotonic_ns()
        let submission = prepare(
            empty(slice, direction, try sinkIndex(of: slice)), nil, isGate: true, options)
        await run(submission)
        _ = try finish(submission, asked: slice.count)
        options.deadlineNanoseconds = options.nanoseconds(leftSince: begin)
    }

    /// A record that moves nothing.
    private func empty(_ slice: SinkSlice, _ direction: RequestRecord.Direction, _ sink: Int) -> RequestRecord {
        let nowhere = UnsafeMutableRawPointer(bitPattern: SlabArena.smallestBlock)!
        // Of one byte, since no request has fewer; its copy has none.
        var record = RequestRecord(direction, file: nil, address: nowhere, offset: 0, length: 1, priority: .normal)
        record.sink = Int8(sink)
        record.target = slice.target
        return record
    }

    /// Has the sink leave in order what the earlier parts of a failed call have begun.
    private func endCopy(_ slice: SinkSlice, _ direction: RequestRecord.Direction, _ sink: Int) async {
        let record = empty(slice, direction, sink)
        let submission = pool.take(1)
        submission.append(
            record, SinkCopy(target: record.target, start: 0, count: 0, memory: record.address))
        submission.landing = .init(sink: Int(record.sink), block: nil)
        // Whatever has become of the task: this is not to be cancelled.
        await withUnsafeContinuation { send(submission, $0) }
        precondition(submission.hasEnded.load(ordering: .acquiring), "resumed before the end")
        pool.giveBack(submission)
    }
}

extension Transfer {
    /// The destination is a device's memory; the address is of no meaning until the bytes have somewhere to land.
    init(
        _ operation: StorageError.Operation, _ file: StorageFile, _ offset: UInt64, _ slice: SinkSlice, core: QueueCore
    ) throws(StorageError) {
        if let problem = slice.problem { throw problem.about(operation, file, offset) }
        let nowhere = UnsafeMutableRawPointer(bitPattern: SlabArena.smallestBlock)!
        try self.init(operation, file, offset, nowhere, slice.count, core: core)
    }
}

extension StorageError {
    /// The same error, of a request that has a file.
    func about(_ operation: Operation, _ file: StorageFile, _ offset: UInt64) -> StorageError {
        StorageError(code, operation, path: file.path, offset: offset, length: length, message: message)
    }

    /// Why a request that has a sink has failed.
    init(_ outcome: RequestRecord.Outcome, _ record: RequestRecord, asked: Int) {
        let file = record.file?.takeUnretainedValue()
        self.init(outcome, record.direction, file, offset: file == nil ? nil : record.offset, length: asked)
    }
}

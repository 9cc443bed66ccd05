import Glibc
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

@testable import Penstock

/// One call of a ``Workload``, with the check of its result.
struct CallPlan: Sendable {
    enum Kind: Sendable { case read, batch, write, load, bad, chunks }

    var file: Int
    var size: Int
    var caching: StorageFile.Caching
    var kind: Kind
    var ranges: [Range<Int>] = []
    var misalignment = 0
    var priority: StoragePriority?
    var deadline: Duration?
    var cancelsAfter: Int?

    private var stops: ContinuousClock.Instant? { deadline.map { .now + $0 } }

    func perform(on queue: StorageQueue, _ disk: SimulatedDisk, _ ledger: Ledger, seed: UInt64, index: Int) async {
        defer { ledger.end() }
        do {
            switch kind {
            case .read: try await read(queue, ledger, seed)
            case .batch: try await batch(queue, ledger, seed)
            case .write: try await write(queue, disk, seed, index)
            case .load: try await load(queue, seed)
            case .bad: try await readBad(queue, ledger, seed)
            case .chunks: try await chunks(queue, seed)
            }
        } catch {
            expectExcusable(error, seed)
        }
    }

    // MARK: Calls

    private func read(_ queue: StorageQueue, _ ledger: Ledger, _ seed: UInt64) async throws(StorageError) {
        let file = try await queue.open(FilePath("file\(file)"), caching: caching)
        for range in ranges {
            let buffer = try await queue.allocate(byteCount: range.count + misalignment)
            let slice = buffer[misalignment...]
            defer { ledger.watch(buffer, seed: seed) }
            let count = try await queue.read(
                from: file, at: UInt64(range.lowerBound), into: slice, priority: priority, deadline: stops, tag: 7)
            #expect(count == expected(range), "seed \(seed): \(range) of \(size)")
            expectContent(slice, range.lowerBound, count, seed)
        }
        try await file.close()
    }

    private func batch(_ queue: StorageQueue, _ ledger: Ledger, _ seed: UInt64) async throws(StorageError) {
        let file = try await queue.open(FilePath("file\(file)"), caching: caching)
        var requests: [StorageRequest] = []
        for (index, range) in ranges.enumerated() {
            let buffer = try await queue.allocate(byteCount: range.count + misalignment)
            let level = index % 3 == 0 ? priority : nil
            requests.append(
                .read(from: file, at: UInt64(range.lowerBound), into: buffer[misalignment...], priority: level))
        }
        let results = await queue.perform(requests)
        #expect(results.count == requests.count)
        for (result, (request, range)) in zip(results, zip(requests, ranges)) {
            switch result {
            case .success(let count):
                #expect(count == expected(range), "seed \(seed): \(range) of \(size)")
                expectContent(request.slice!, range.lowerBound, count, seed)
            case .failure(let error): expectExcusable(error, seed)
            }
            ledger.watch(request.slice!.buffer, seed: seed)
        }
    }

    private func write(
        _ queue: StorageQueue, _ disk: SimulatedDisk, _ seed: UInt64, _ index: Int
    ) async throws(StorageError) {
        let path = FilePath("written\(index)")
        let file = try await queue.open(path, [.readWrite, .create], caching: caching)
        let bytes = Pattern.bytes(file: index, count: ranges[0].count + misalignment)
        let buffer = try await queue.allocate(byteCount: bytes.count)
        buffer.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
        let count = try await queue.write(buffer[misalignment...], to: file, at: 100, priority: priority)
        try await file.sync()
        #expect(count == ranges[0].count)
        #expect(disk[path].map { Array($0.dropFirst(100)) } ?? [] == Array(bytes[misalignment...]), "seed \(seed)")
        try await file.truncate(to: 50)
        #expect(try await file.size() == 50)
    }

    private func load(_ queue: StorageQueue, _ seed: UInt64) async throws(StorageError) {
        let buffer = try await queue.load(FilePath("file\(file)"), priority: priority)
        #expect(buffer.count == size, "seed \(seed)")
        expectContent(buffer[...], 0, size, seed)
    }

    private func readBad(_ queue: StorageQueue, _ ledger: Ledger, _ seed: UInt64) async throws(StorageError) {
        let file = try await queue.open("bad", caching: caching)
        let buffer = try await queue.allocate(byteCount: 10_000)
        defer { ledger.watch(buffer, seed: seed) }
        do throws(StorageError) {
            try await queue.read(from: file, into: buffer, priority: priority)
            Issue.record("seed \(seed): a bad block was read as if it were good")
        } catch {
            if error.code == .io {
                #expect(error.path == "bad" && error.offset == 0 && error.length == 10_000 && error.errno == .ioError)
            } else {
                throw error
            }
        }
    }

    private func chunks(_ queue: StorageQueue, _ seed: UInt64) async throws(StorageError) {
        let file = try await queue.open(FilePath("file\(file)"), caching: caching)
        var position = 0
        for try await chunk in queue.chunks(of: file, size: max(ranges[0].count, 1000), readAhead: 3) {
            expectContent(chunk[...], position, chunk.count, seed)
            position += chunk.count
        }
        #expect(position == size, "seed \(seed)")
    }

    // MARK: Checks

    private func expected(_ range: Range<Int>) -> Int { max(0, min(range.upperBound, size) - range.lowerBound) }

    private func expectContent(_ slice: HostBuffer.Slice, _ offset: Int, _ count: Int, _ seed: UInt64) {
        let isRight = slice.withUnsafeBytes { bytes in
            Pattern.matches(UnsafeRawBufferPointer(rebasing: bytes[..<count]), file: file, at: offset)
        }
        #expect(isRight, "seed \(seed): wrong bytes from offset \(offset)")
    }

    /// A request may fail by what was done to it, never by what the queue must hide.
    private func expectExcusable(_ error: StorageError, _ seed: UInt64) {
        var excuses: [StorageError.Code] = [.io, .queueClosed]
        if cancelsAfter != nil { excuses.append(.cancelled) }
        if deadline != nil { excuses.append(.deadlineExceeded) }
        #expect(excuses.contains(error.code), "seed \(seed): \(error)")
    }
}

/// What the calls of a workload leave behind.
final class Ledger: Sendable {
    private struct State {
        var ended = 0
        var watched: [HostBuffer] = []
    }

    private static let mark: Int32 = 0xA5
    private let state = Locked(State())

    func end() { state.withLock { $0.ended += 1 } }
    var ended: Int { state.withLock { $0.ended } }

    /// The call that used the buffer has returned: nobody may write to it from now on.
    func watch(_ buffer: HostBuffer, seed: UInt64) {
        buffer.withUnsafeMutableBytes { bytes in _ = memset(bytes.baseAddress!, Self.mark, bytes.count) }
        state.withLock { $0.watched.append(buffer) }
    }

    var untouched: Bool {
        let marks = [UInt8](repeating: UInt8(Self.mark), count: 64_000)
        return state.withLock { state in
            state.watched.allSatisfy { buffer in
                buffer.withUnsafeBytes { memcmp($0.baseAddress!, marks, $0.count) == 0 }
            }
        }
    }
}

import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// Adjacent small direct reads of a batch travel as one, and nobody can tell by the results.
@Suite struct Merging {
    /// A file of 64 blocks on a simulated disk, and direct reads of all of them into neighbouring slices.
    private func makeBatch(
        on disk: SimulatedDisk, _ queue: StorageQueue, count: Int = 64 * 4096
    ) async throws -> (requests: [StorageRequest], buffer: HostBuffer) {
        disk["file"] = Pattern.bytes(file: 1, count: min(count, 60_000))
        let file = try await queue.open("file", caching: .direct)
        let buffer = try await queue.allocate(byteCount: 64 * 4096)
        let requests = (0..<64).map { index in
            StorageRequest.read(from: file, at: UInt64(index * 4096), into: buffer[index * 4096..<(index + 1) * 4096])
        }
        return (requests, buffer)
    }

    @Test func neighboursCostOneOperation() async throws {
        let disk = SimulatedDisk(seed: 1)
        let queue = try StorageQueue(simulating: disk)
        let (requests, buffer) = try await makeBatch(on: disk, queue)
        let before = disk.counts.operations
        let results = await queue.perform(requests)
        #expect(disk.counts.operations - before <= 2)
        for (index, result) in results.enumerated() {
            let expected = max(0, min(4096, 60_000 - index * 4096))
            #expect(try result.get() == expected, "request \(index)")
        }
        #expect(buffer[..<60_000].withUnsafeBytes { Pattern.matches($0, file: 1, at: 0) })
        #expect(await queue.statistics.requests == 64)
        await queue.shutdown()
    }

    @Test func badBlockFailsItsOwnRequestOnly() async throws {
        let disk = SimulatedDisk(seed: 2)
        let queue = try StorageQueue(simulating: disk)
        let (requests, _) = try await makeBatch(on: disk, queue)
        disk.fail("file", in: 20_480..<20_481)
        let results = await queue.perform(requests)
        for (index, result) in results.enumerated() where index < 14 {
            if index == 5 {
                #expect(throws: StorageError.self) { try result.get() }
            } else {
                #expect(try result.get() == 4096, "request \(index)")
            }
        }
        await queue.shutdown()
    }

    @Test func requestsThatAreNoNeighboursStayApart() async throws {
        let disk = SimulatedDisk(seed: 3)
        let queue = try StorageQueue(simulating: disk)
        let (requests, _) = try await makeBatch(on: disk, queue)
        let before = disk.counts.operations
        // Every second one, and the other way round.
        let apart = stride(from: 12, through: 0, by: -2).map { requests[$0] }
        let results = await queue.perform(apart)
        #expect(results.allSatisfy { (try? $0.get()) == 4096 })
        #expect(disk.counts.operations - before == apart.count)
        await queue.shutdown()
    }
}

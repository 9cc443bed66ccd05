import Penstock
import SystemPackage
import Testing

@Test func readsAWholeFile() async throws {
    try await withStorageQueue { queue in
        let file = try await queue.open("/etc/passwd")
        let size = try await file.size()
        let buffer = try await queue.read(from: file)
        #expect(buffer.count == Int(size))
    }
}

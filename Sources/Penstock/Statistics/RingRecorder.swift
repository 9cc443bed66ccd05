/// The ring thread's own counts: plain numbers, no atomics.
struct RingRecorder {
    private var buffered = [Statistics.Flow](repeating: .init(), count: StoragePriority.allCases.count)
    private var direct = [Statistics.Flow](repeating: .init(), count: StoragePriority.allCases.count)
    private var staged = [Statistics.Flow](repeating: .init(), count: StoragePriority.allCases.count)
    private let driver: DriverKind
    private var bytesRead: UInt64 = 0
    private var bytesWritten: UInt64 = 0
    private var failed: UInt64 = 0
    private var cancelled: UInt64 = 0
    var retries: UInt64 = 0

    init(driver: DriverKind) { self.driver = driver }

    mutating func end(_ record: UnsafeMutablePointer<RequestRecord>, submittedAt: UInt64, now: UInt64) {
        let priority = Int(record.pointee.priority.rawValue)
        let bytes = UInt64(record.pointee.outcome.count)
        let latency = now > submittedAt ? now - submittedAt : 0
        let requests = UInt64(record.pointee.mergedCount)
        if record.pointee.sink >= 0 {
            staged[priority].note(requests, bytes, latency)
        } else if record.pointee.usedDirect {
            direct[priority].note(requests, bytes, latency)
        } else {
            buffered[priority].note(requests, bytes, latency)
        }
        switch record.pointee.direction {
        case .read: bytesRead += bytes
        case .write: bytesWritten += bytes
        }
        switch record.pointee.outcome.failure {
        case .none: break
        case .cancelled, .deadlineExceeded: cancelled += requests
        default: failed += requests
        }
    }

    func add(to statistics: inout Statistics) {
        for priority in StoragePriority.allCases {
            statistics.add(buffered[Int(priority.rawValue)], .buffered, priority)
            statistics.add(direct[Int(priority.rawValue)], .direct, priority)
            statistics.add(staged[Int(priority.rawValue)], .staged, priority)
        }
        statistics.bytesRead += bytesRead
        statistics.bytesWritten += bytesWritten
        statistics.failed += failed
        statistics.cancelled += cancelled
        statistics.retries += retries
    }
}

extension Statistics.Flow {
    fileprivate mutating func note(_ count: UInt64, _ bytes: UInt64, _ nanoseconds: UInt64) {
        requests += count
        self.bytes += bytes
        latency.record(nanoseconds)
    }
}

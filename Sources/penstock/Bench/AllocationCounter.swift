import CBaselines

/// Counts the process's heap allocations, the Swift runtime's included.
enum AllocationCounter {
    /// False in sanitizer builds, which need the allocator for themselves.
    static var isAvailable: Bool { allocation_counter_available() }

    /// The heap allocations of all threads while `body` runs, or `nil` where they cannot be counted.
    ///
    /// Run `body` once before, so that one-time initialisation is not counted; divide by many requests, because a task
    /// or two of the runtime's own may fall in. Two counts must not overlap.
    static func count(_ body: () async throws -> Void) async rethrows -> UInt64? {
        allocation_counter_start()
        do {
            try await body()
        } catch {
            _ = allocation_counter_stop()
            throw error
        }
        let count = allocation_counter_stop()
        return isAvailable ? count : nil
    }
}

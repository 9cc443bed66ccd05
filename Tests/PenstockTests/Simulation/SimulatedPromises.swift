import Penstock
import PenstockTesting
import SystemPackage
import TestSupport
import Testing

/// The promises of the design, on a disk that has a bad day, over thousands of seeds. A failure names its seed, and
/// `PENSTOCK_SEED=n` runs that one alone.
@Suite struct SimulatedPromises {
    static let seeds = repetitions(2400)
    static let groups = 24

    @Test(arguments: 0..<groups)
    func holdOnAnySeed(group: Int) async throws {
        if let only = Workload.onlySeed {
            guard group == 0 else { return }
            try await Workload.run(seed: only)
            return
        }
        let each = Self.seeds / Self.groups
        for seed in group * each..<(group + 1) * each { try await Workload.run(seed: UInt64(seed)) }
    }
}

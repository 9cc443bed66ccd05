import PenstockCompression
import Testing

/// Without a word from the application, the faster processor decodes, and a GPU only within its time.
@Suite struct ChoosingProcessors {
    private static let page = 64 << 10

    /// A MiB in so many microseconds.
    private func work(microseconds: UInt64) -> DecodingStatistics.Work {
        .init(chunks: 16, encodedBytes: 500_000, decodedBytes: 1 << 20, nanoseconds: microseconds * 1000)
    }

    /// A chooser that knows how long both take for a MiB: the GPU, and each of two workers.
    private func chooser(gpu: UInt64, worker: UInt64, _ policy: DecodingPolicy) -> DecodingChooser {
        let chooser = DecodingChooser(width: 2)
        chooser.set(policy)
        #expect(!chooser.choosesGPU(nil, bytes: 1 << 20), "nothing is known yet")
        chooser.noteWorkers(work(microseconds: worker))
        #expect(!chooser.choosesGPU(nil, bytes: 100), "too little for a trial")
        #expect(chooser.choosesGPU(nil, bytes: Self.page), "the trial")
        #expect(!chooser.choosesGPU(nil, bytes: Self.page), "one trial is enough")
        chooser.noteGPU(work(microseconds: gpu))
        return chooser
    }

    @Test func theFasterOneDecodes() {
        let policy = DecodingPolicy(.automatic, gpuTimeShare: 1)
        #expect(chooser(gpu: 900, worker: 2000, policy).choosesGPU(nil, bytes: 1 << 20))
        // Two workers are as fast as that.
        #expect(!chooser(gpu: 1100, worker: 2000, policy).choosesGPU(nil, bytes: 1 << 20))
        #expect(!chooser(gpu: 900, worker: 2000, policy).choosesGPU(nil, bytes: 1 << 20, isHost: true))
    }

    @Test func whoeverChoosesGetsIt() {
        let slow = self.chooser(gpu: 50_000, worker: 20, DecodingPolicy(.automatic, gpuTimeShare: 1))
        #expect(slow.choosesGPU(.gpu, bytes: 1))
        #expect(slow.choosesGPU(.gpu, bytes: 1, isHost: true))
        slow.set(DecodingPolicy(.gpu))
        #expect(slow.choosesGPU(nil, bytes: 1))
        #expect(!slow.choosesGPU(.cpu, bytes: 1))
        slow.set(DecodingPolicy(.cpu))
        #expect(!slow.choosesGPU(nil, bytes: 1))
    }

    @Test func aGPUDecodesNoLongerThanItMay() {
        // A tenth of a second may be saved up, and has just been used up.
        let busy = chooser(gpu: 900, worker: 2000, DecodingPolicy(.automatic, gpuTimeShare: 0.001))
        busy.noteGPU(.init(decodedBytes: 100 << 20, nanoseconds: 90_000_000))
        #expect(!busy.choosesGPU(nil, bytes: 1 << 20))
        let none = DecodingChooser(width: 2)
        none.set(DecodingPolicy(.automatic, gpuTimeShare: 0))
        none.noteWorkers(work(microseconds: 2000))
        #expect(!none.choosesGPU(nil, bytes: 1 << 20))
        #expect(DecodingPolicy(gpuTimeShare: -1).gpuTimeShare == 0)
        #expect(DecodingPolicy(gpuTimeShare: 7).gpuTimeShare == 1)
        var policy = DecodingPolicy()
        policy.gpuTimeShare = .nan
        #expect(policy.gpuTimeShare == 0)
    }

    @Test func timeIsTakenWhenItIsChosenAndNeverOwedForLong() {
        // A tenth of a second may be saved up, of which each of these takes 30 ms.
        let chooser = self.chooser(gpu: 30_000, worker: 200_000, DecodingPolicy(.automatic, gpuTimeShare: 1))
        let chosen = (0..<100).count { _ in chooser.choosesGPU(nil, bytes: 1 << 20) }
        // The first one's time is refilled as time goes by.
        #expect((2...4).contains(chosen), "\(chosen) of 100 were chosen")
        // Hours that were asked for by name are nobody's debt.
        let forced = self.chooser(gpu: 100, worker: 2000, DecodingPolicy(.automatic, gpuTimeShare: 1))
        forced.noteGPU(.init(decodedBytes: 1 << 40, nanoseconds: 100 << 30), wasChosen: false)
        #expect(forced.choosesGPU(nil, bytes: 1))
    }

    @Test func aGPUThatFailsIsLeftAlone() {
        let chooser = self.chooser(gpu: 900, worker: 2000, DecodingPolicy(.automatic, gpuTimeShare: 1))
        #expect(chooser.choosesGPU(nil, bytes: Self.page))
        chooser.noteFailure()
        #expect(!chooser.choosesGPU(nil, bytes: 1 << 20))
    }
}

extension Engine {
    func statistics(inline: InlineRecorder) -> Statistics {
        assertOnRing()
        var statistics = Statistics(driver: driver.kind)
        inline.add(to: &statistics)
        recorder.add(to: &statistics)
        statistics.callsWaiting = scheduler.count
        statistics.peakCallsWaiting = scheduler.peakEntries
        statistics.bytesInFlight = scheduler.bytesInFlight
        statistics.peakBytesInFlight = scheduler.peakBytesInFlight
        statistics.piecesInFlight = scheduler.piecesInFlight
        statistics.creditsLeft = max(0, scheduler.limits.bytes - scheduler.bytesInFlight)
        let usage = arena.usage
        statistics.memoryMapped = usage.mapped
        statistics.memoryInUse = usage.used
        statistics.peakMemoryInUse = usage.peak
        for index in 0..<sinks.count {
            let staging = sinks[index].staging.usage
            statistics.stagingInUse += staging.used
            statistics.peakStagingInUse = max(statistics.peakStagingInUse, staging.peak)
        }
        return statistics
    }
}

import CVulkan
import FakeVulkan
import Penstock
import PenstockTesting
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Cancelled or shut down wherever it stands, a request ends once, and what it began is left in order.
    @Suite(.timeLimit(.minutes(5))) struct CancellingOnFake {
        private let scratch = Scratch()

        enum Stage: CaseIterable { case staging, disk, landed, device, held }
        enum End: CaseIterable { case cancel, tag, shutdown }

        @Test(arguments: Stage.allCases, End.allCases)
        func requestEndsOnceAtEveryStage(_ stage: Stage, _ end: End) async throws {
            // Little enough not to be submitted while the device has something else to do.
            let size = 100_000
            let disk = SimulatedDisk(seed: 3, time: stage == .disk ? .manual : .automatic)
            disk["in"] = Salted().bytes(0..<size)
            disk["big"] = Salted().bytes(0..<8 << 20)
            var configuration = FakeVulkan.Configuration()
            configuration.execution = .manual
            try await FakeMachine.run(configuration, disk: disk, queue: { $0.stagingBytes = 4 << 20 }) { machine in
                let queue = machine.queue
                let file = try await queue.open("in", caching: .buffered)
                let big = try await queue.open("big", caching: .buffered)
                let buffer = try machine.device.makeBuffer(byteCount: size)
                let large = try machine.device.makeBuffer(byteCount: 8 << 20)
                let gate = machine.semaphore()
                let point = GPUSemaphorePoint(gate, 1)

                var others: [Task<Void, Never>] = []
                if stage == .staging || stage == .landed {
                    // The device has work; and all of the staging memory with it.
                    let other = stage == .staging ? large[...] : large[..<size]
                    others.append(Task { _ = try? await queue.read(from: big, into: other) })
                    try await machine.submissions(atLeast: 1)
                    if stage == .staging {
                        try await machine.reach("full") { try await machine.stagingInUse >= 4 << 20 }
                    }
                }
                if stage == .disk {
                    var faults = SimulatedDisk.Faults()
                    faults.delay = .seconds(1) ... .seconds(1)
                    disk.faults = faults
                }
                let before = disk.counts.operations
                let ends = Log<StorageError.Code?>()
                let task = Task {
                    do throws(StorageError) {
                        let synchronization = stage == .held ? GPUSynchronization(after: [point]) : nil
                        let count = try await queue.read(
                            from: file, into: buffer[...], tag: 77, synchronization: synchronization)
                        #expect(count == size)
                        ends.add(nil)
                    } catch {
                        ends.add(error.code)
                    }
                }
                switch stage {
                case .staging: try await machine.reach("waiting") { await queue.statistics.callsWaiting >= 2 }
                case .disk: await disk.operationsInFlight(atLeast: 1)
                case .landed:
                    try await machine.reach("read") { disk.counts.operations > before }
                    try await machine.turn()
                case .device: try await machine.submissions(atLeast: 1)
                case .held: try await machine.reach("held") { try await machine.sinkIsBusy }
                }
                var shutdown: Task<Void, Never>?
                switch end {
                case .cancel: task.cancel()
                case .tag: await queue.cancel(tag: 77)
                case .shutdown: shutdown = Task { await queue.shutdown() }
                }
                if end != .shutdown, stage == .staging || stage == .held {
                    // Nothing of it is on its way: it needs nobody.
                    await task.value
                    #expect(ends.all == [.cancelled])
                }
                if end == .shutdown {
                    try await machine.reach("closing") {
                        do {
                            _ = try await queue.read(from: file, into: buffer[..<0])
                            return false
                        } catch {
                            return true
                        }
                    }
                }
                if stage == .held { machine.signal(gate, 1) }
                if stage == .disk { disk.advance(by: .seconds(2)) }
                machine.fake.setExecution(.automatic)
                await task.value
                for other in others { await other.value }
                await shutdown?.value
                #expect(ends.all.count == 1)
                if end == .shutdown, stage == .held {
                    #expect(ends.all[0] == nil || ends.all[0] == .queueClosed)
                } else if end == .shutdown {
                    #expect(ends.all[0] == nil, "a shutdown waits for what was asked before it")
                } else {
                    #expect(ends.all[0] == nil || ends.all[0] == .cancelled)
                }
                let bytes = machine.contents(buffer)
                let isThere = Salted().matches(bytes)
                if ends.all[0] == nil { #expect(isThere) }
            }
        }

        /// Requests of all kinds, cancelled at any moment, on a bad disk; whatever has succeeded is right, the rest is typed.
        @Test(arguments: 0..<4)
        func cancelStormLeavesNothingBehind(_ run: Int) async throws {
            var random = seededOnce("cancelStormLeavesNothingBehind \(run)")
            let disk = SimulatedDisk(seed: random.seed, faults: .everything)
            disk["in"] = Salted().bytes(0..<6 << 20)
            var configuration: FakeVulkan.Configuration = run % 2 == 0 ? .init() : .nonCoherent
            if run >= 2 { configuration.importLimit = 3 }
            try await FakeMachine.run(configuration, disk: disk, queue: { $0.stagingBytes = 4 << 20 }) { machine in
                let queue = machine.queue
                let file = try await queue.open("in")
                let output = try await queue.open("out", [.readWrite, .create])
                let source = try machine.device.makeBuffer(byteCount: 2 << 20)
                let host = try await queue.allocate(byteCount: 2 << 20)
                try await queue.read(from: file, into: host[...])
                try await queue.read(from: host[...], into: source[...])
                let gate = machine.semaphore()
                let point = GPUSemaphorePoint(gate, 1)
                var tasks: [Task<Void, any Error>] = []
                for index in 0..<60 {
                    let size = random.chance(30) ? random.below(3_000_000) + 1 : random.below(100_000) + 1
                    let offset = random.below(1_000_000)
                    let kind = random.below(6)
                    let isHeld = random.chance(20)
                    tasks.append(
                        Task {
                            do throws(StorageError) {
                                let buffer = try machine.device.makeBuffer(byteCount: size)
                                let synchronization = isHeld ? GPUSynchronization(after: [point]) : nil
                                switch kind {
                                case 0, 1:
                                    let count = try await queue.read(
                                        from: file, at: UInt64(offset), into: buffer[...], tag: UInt64(index % 7),
                                        synchronization: synchronization)
                                    #expect(count == size)
                                    let isThere = Salted().matches(machine.contents(buffer), at: offset)
                                    #expect(isThere)
                                case 2:
                                    let image = try machine.device.makeImage(
                                        .init(
                                            format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1 + size % 700,
                                            height: 1 + size % 900))
                                    do throws(StorageError) {
                                        try await queue.read(
                                            from: file, at: UInt64(offset), into: image.whole(to: .general),
                                            synchronization: synchronization)
                                        let isThere = Salted().matches(
                                            machine.fake.contents(of: image.handle, mip: 0), at: offset)
                                        #expect(isThere)
                                        #expect(machine.layout(image) == .general)
                                    } catch {
                                        let layout = machine.layout(image)
                                        #expect(layout == .general || layout == .undefined)
                                        throw error
                                    }
                                case 3:
                                    let range = 0..<min(size, 2 << 20)
                                    try await queue.write(source[range], to: output, at: UInt64(offset))
                                case 4:
                                    let part = min(size, 1 << 20)
                                    try await queue.read(from: host[..<part], into: buffer[..<part])
                                default:
                                    let part = min(size, 1 << 20)
                                    let mine = try await queue.allocate(byteCount: part)
                                    try await queue.write(source[..<part], to: mine[...])
                                    #expect(mine.withUnsafeBytes { Salted().matches($0) })
                                }
                            } catch {
                                #expect(error.code == .cancelled, "\(error)")
                            }
                        })
                }
                let order = tasks.shuffled(using: &random)
                for task in order.prefix(40) {
                    for _ in 0..<random.below(4) { await Task.yield() }
                    if random.chance(50) { task.cancel() }
                    if random.chance(10) { await queue.cancel(tag: UInt64(random.below(7))) }
                }
                machine.signal(gate, 1)
                for task in tasks { try await task.value }
                #expect(try await machine.stagingInUse == 0)
            }
        }

        /// Copied from host memory in pieces, the image is brought into its final layout though half of it never came.
        @Test func hostCopyCancelledHalfWayLeavesTheImageInItsFinalLayout() async throws {
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let queue = machine.queue
                let image = try machine.device.makeImage(
                    .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 1024, height: 1024))
                let host = try await queue.allocate(byteCount: 4 << 20)
                let task = Task {
                    await expectError(.cancelled) {
                        try await queue.read(from: host[...], into: image.whole(to: .general))
                    }
                }
                try await machine.submissions(atLeast: 1)
                task.cancel()
                machine.fake.setExecution(.automatic)
                _ = await task.value
                try await machine.reach("done") { try await !machine.sinkIsBusy }
                #expect(machine.layout(image) == .general)
            }
        }
    }
}

import CVulkan
import FakeVulkan
import Penstock
import PenstockTesting
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Requests that end when they have been submitted: what is waited for on the GPU afterwards.
    @Suite(.timeLimit(.minutes(5))) struct TicketsOnFake {
        private let scratch = Scratch()

        @Test(arguments: [10_000, 3_000_000])
        func ticketIsReachedWhenTheBytesAreThere(_ size: Int) async throws {
            let path = scratch.make("in", count: size - 100)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: size)
                let tickets = Log<GPUTicket>()
                let task = Task { tickets.add(try await queue.submit(from: file, into: buffer[...])) }
                var steps = 0
                try await machine.reach("a ticket") {
                    // A large one needs the device, for its submissions wait for each other.
                    if size > 1 << 20, machine.fake.step() { steps += 1 }
                    return !tickets.all.isEmpty
                }
                try await task.value
                let ticket = tickets.all[0]
                #expect(ticket.count == size - 100)
                if size < 1 << 20 { #expect(machine.value(ticket.point.semaphore) < ticket.point.value) }
                machine.fake.runAll()
                #expect(machine.value(ticket.point.semaphore) >= ticket.point.value)
                let isThere = Salted().matches(machine.contents(buffer)[..<(size - 100)])
                #expect(isThere)
                // Of nothing: reached at once.
                let nothing = try await queue.submit(from: file, into: buffer[..<0])
                #expect(nothing.count == 0)
                #expect(machine.value(nothing.point.semaphore) >= nothing.point.value)
            }
        }

        /// Submissions whose tickets are out have no result to give when they end, and others may wait for their room.
        @Test func copiesThatGatheredGoWhenOnlyTicketsHaveEnded() async throws {
            let path = scratch.make("in", count: 600_000)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let (queue, fake) = (machine.queue, machine.fake)
                let file = try await queue.open(path)
                let buffer = try machine.device.makeBuffer(byteCount: 600_000)
                for round in 1...50 {
                    let first = try await queue.submit(from: file, into: buffer[..<1000])
                    // The ring thread's own short wait sees both end.
                    let ends = Log<GPUTicket>()
                    fake.setHook { if $0 == "vkWaitSemaphores", fake.pendingSubmissions == 2 { fake.runAll() } }
                    let second = Task { try await queue.submit(from: file, at: 1000, into: buffer[1000..<400_000]) }
                    let third = Task {
                        ends.add(try await queue.submit(from: file, at: 400_000, into: buffer[400_000...]))
                    }
                    _ = try await second.value
                    try await third.value
                    fake.setHook(nil)
                    fake.runAll()
                    #expect(ends.all.count == 1 && first.count == 1000, "round \(round)")
                }
                let isThere = Salted().matches(machine.contents(buffer))
                #expect(isThere)
            }
        }

        /// The buffer goes before the device is done with it, with nobody suspended to hold it.
        @Test func ticketKeepsItsMemoryUntilTheDeviceIsDone() async throws {
            let path = scratch.make("in", count: 100_000)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let file = try await machine.queue.open(path)
                do {
                    let buffer = try machine.device.makeBuffer(byteCount: 100_000)
                    let image = try machine.device.makeImage(
                        .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 100, height: 100))
                    _ = try await machine.queue.submit(from: file, into: buffer[...])
                    machine.fake.step()
                    _ = try await machine.queue.submit(from: file, into: image.whole(to: .general))
                }
                machine.fake.setExecution(.automatic)
            }
        }
    }
}

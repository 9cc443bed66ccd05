import CVulkan
import Glibc
import PenstockVulkan
import Synchronization
import Testing

extension DevicesInTurn {
    /// What the other tests here rely on: that the layer is on, with all of its checks, and heard. Each kind of message is
    /// provoked once, by hand.
    @Suite(.timeLimit(.minutes(5))) struct Validation {
        @Test func coreChecksAreOn() async throws {
            try await withValidatedDevice { device, log in
                let raw = RawDevice(device)
                let (source, destination) = (raw.makeBuffer(4096), raw.makeBuffer(4096))
                let commands = raw.makeCommands()
                raw.begin(commands)
                raw.copy(commands, from: source.handle, to: destination.handle, 1, count: 4096)
                raw.end(commands)
                let messages = log.take()
                #expect(messages.contains { $0.contains("VUID-") && $0.contains("CopyBuffer") }, "\(messages)")
                raw.destroy(commands)
                raw.destroy(source)
                raw.destroy(destination)
            }
        }

        @Test func synchronizationChecksAreOn() async throws {
            try await withValidatedDevice { device, log in
                let raw = RawDevice(device)
                let (source, destination) = (raw.makeBuffer(4096), raw.makeBuffer(4096))
                let commands = raw.makeCommands()
                raw.begin(commands)
                raw.copy(commands, from: source.handle, to: destination.handle, count: 4096)
                raw.copy(commands, from: source.handle, to: destination.handle, count: 4096)
                raw.end(commands)
                let messages = log.take()
                #expect(messages.contains { $0.contains("SYNC-HAZARD-WRITE-AFTER-WRITE") }, "\(messages)")
                // And with a barrier it is silent, as the other tests want it.
                raw.begin(commands)
                raw.copy(commands, from: source.handle, to: destination.handle, count: 4096)
                raw.barrier(commands)
                raw.copy(commands, from: source.handle, to: destination.handle, count: 4096)
                raw.end(commands)
                raw.destroy(commands)
                raw.destroy(source)
                raw.destroy(destination)
            }
        }

        /// A pool's own allocator, in which its driver meets another thread that uses the pool too.
        private final class Meeting: @unchecked Sendable {  // `raw` and `commands` are set before anybody meets
            var raw: RawDevice?
            var commands: RawDevice.Commands?
            let isArmed = Atomic<Bool>(false)

            func happen() {
                guard isArmed.exchange(false, ordering: .acquiringAndReleasing), let raw, let commands else { return }
                let other = TestThread { _ = raw.functions.resetCommandPool(raw.device, commands.pool, 0) }
                other.join()
            }
        }

        @Test func threadSafetyChecksAreOn() async throws {
            try await withValidatedDevice { device, log in
                let raw = RawDevice(device)
                let meeting = Meeting()
                var allocator = VkAllocationCallbacks()
                allocator.pUserData = Unmanaged.passUnretained(meeting).toOpaque()
                allocator.pfnAllocation = { user, size, alignment, _ in
                    Unmanaged<Meeting>.fromOpaque(user!).takeUnretainedValue().happen()
                    return aligned_alloc(max(alignment, 16), (size + 15) / 16 * 16)
                }
                allocator.pfnReallocation = { _, memory, size, _, _ in realloc(memory, size) }
                allocator.pfnFree = { _, memory in free(memory) }
                withUnsafePointer(to: &allocator) { allocator in
                    let commands = raw.makeCommands(allocator: allocator)
                    meeting.raw = raw
                    meeting.commands = commands
                    meeting.isArmed.store(true, ordering: .releasing)
                    _ = raw.allocateCommands(commands.pool)
                    let hasNotMet = meeting.isArmed.load(ordering: .acquiring)
                    #expect(!hasNotMet, "the driver has not used the pool's allocator")
                    raw.destroy(commands, allocator: allocator)
                }
                withExtendedLifetime(meeting) {}
                let messages = log.take()
                #expect(messages.contains { $0.contains("Threading") || $0.contains("THREADING") }, "\(messages)")
            }
        }

        @Test func whatIsLeftBehindIsHeardOf() async throws {
            let log = ValidationLog()
            weak var instanceLives: Sentinel?
            do {
                let sentinel = Sentinel()
                instanceLives = sentinel
                var configuration = GPUDevice.Configuration()
                configuration.validation = { message in withExtendedLifetime(sentinel) { log.add(message) } }
                let device = try GPUDevice(configuration)
                _ = RawDevice(device).makeTimeline()
            }
            #expect(await yields { instanceLives == nil })
            #expect(log.all.contains { $0.contains("VUID-vkDestroyDevice-device-00378") }, "\(log.all)")
        }
    }
}

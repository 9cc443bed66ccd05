import CVulkan
import FakeVulkan
import PenstockVulkan
import TestSupport
import Testing

/// What must be ordered, locked or handed over, and was not.
@Suite struct FakeSynchronizationRules {
    @Test(arguments: misuses)
    func brokenRuleIsReportedAndNoOther(misuse: Misuse) throws {
        let (isReported, others) = try misuse.reports()
        #expect(isReported)
        #expect(others.isEmpty)
    }

    @Test(arguments: orderedUses)
    func orderedUseIsNotReported(use: Misuse) throws {
        #expect(try use.reports().others == [])
    }

    @Test func twoThreadsInOneQueueAreReported() throws {
        let rig = try FakeRig()
        // Numbers, for any thread.
        nonisolated(unsafe) let first = rig.semaphore()
        nonisolated(unsafe) let inside = rig.semaphore()
        rig.fake.setHook { [weak fake = rig.fake] function in
            // The first to come stays inside until the other has been.
            guard function == "vkQueueSubmit2", fake?.count(of: "vkQueueSubmit2") == 1 else { return }
            _ = rig.signal(inside, 1)
            _ = rig.wait(inside, 2)
        }
        let thread = TestThread { rig.submit(signal: (first, 1)) }
        #expect(rig.wait(inside, 1) == VK_SUCCESS)
        rig.submit()
        #expect(rig.signal(inside, 2) == VK_SUCCESS)
        thread.join()
        rig.fake.setHook(nil)
        #expect(rig.rules == ["UNASSIGNED-Threading-MultipleThreads"])
    }

    @Test func twoThreadsInOneCommandPoolAreReported() throws {
        let rig = try FakeRig()
        // Numbers, for any thread.
        nonisolated(unsafe) let pool = rig.pool()
        nonisolated(unsafe) let inside = rig.semaphore()
        rig.fake.setHook { function in
            guard function == "vkResetCommandPool" else { return }
            _ = rig.signal(inside, 1)
            _ = rig.wait(inside, 2)
        }
        let thread = TestThread { _ = rig.vk.resetCommandPool(rig.device, pool, 0) }
        #expect(rig.wait(inside, 1) == VK_SUCCESS)
        _ = rig.commands(pool) { _ in }
        #expect(rig.signal(inside, 2) == VK_SUCCESS)
        thread.join()
        rig.fake.setHook(nil)
        #expect(rig.rules.first == "UNASSIGNED-Threading-MultipleThreads")
    }

    @Test func heldLockAllowsSubmission() throws {
        let rig = try FakeRig(.with { $0.requiresLock = true })
        rig.fake.queueLock.lock()
        rig.submit()
        rig.fake.queueLock.unlock()
        #expect(rig.fake.violations.isEmpty)
        #expect(rig.fake.queueLock.count == 1)
    }
}

/// A chain of copies host → a → b within the fake, each step submitted in its own way.
private struct Chain {
    let host: FakeRig.Buffer
    let a: FakeRig.Buffer
    let b: FakeRig.Buffer
    let pool: VkCommandPool
    let done: VkSemaphore

    init(_ rig: FakeRig) {
        host = rig.buffer(4096, type: 1)
        (a, b) = (rig.buffer(4096, type: 0), rig.buffer(4096, type: 0))
        pool = rig.pool()
        done = rig.semaphore()
    }
}

private let all: [(from: UInt64, to: UInt64, size: UInt64)] = [(0, 0, 4096)]
private let undefined = VK_IMAGE_LAYOUT_UNDEFINED
private let destinationLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL

private let misuses: [Misuse] = [
    Misuse("read after write, one command buffer", "SYNC-HAZARD-READ-AFTER-WRITE") { rig in
        let chain = Chain(rig)
        rig.submit(
            rig.commands(chain.pool) {
                rig.copy($0, chain.host, chain.a, all)
                rig.copy($0, chain.a, chain.b, all)
            })
        rig.fake.runAll()
    },
    Misuse("write after write, two submissions", "SYNC-HAZARD-WRITE-AFTER-WRITE") { rig in
        let chain = Chain(rig)
        for _ in 0..<2 { rig.submit(rig.commands(chain.pool) { rig.copy($0, chain.host, chain.a, [(0, 8, 8)]) }) }
        rig.fake.runAll()
    },
    Misuse("write after read", "SYNC-HAZARD-WRITE-AFTER-READ") { rig in
        let chain = Chain(rig)
        rig.submit(
            rig.commands(chain.pool) {
                rig.copy($0, chain.a, chain.b, all)
                rig.copy($0, chain.host, chain.a, all)
            })
        rig.fake.runAll()
    },
    Misuse("barrier that makes nothing visible", "SYNC-HAZARD-READ-AFTER-WRITE") { rig in
        let chain = Chain(rig)
        rig.submit(
            rig.commands(chain.pool) {
                rig.copy($0, chain.host, chain.a, all)
                rig.barrier($0, wrote: 0, access: 0)
                rig.copy($0, chain.a, chain.b, all)
            })
        rig.fake.runAll()
    },
    Misuse("two queues without a semaphore", "SYNC-HAZARD-WRITE-AFTER-WRITE", .transferQueue(granularity: (1, 1, 1))) {
        rig in
        let chain = Chain(rig)
        let other = rig.buffer(4096, type: 1)
        rig.submit(rig.commands(chain.pool) { rig.copy($0, chain.host, chain.a, all) })
        rig.submit(
            rig.commands(rig.pool(family: 1)) { rig.copy($0, other, chain.a, all) }, on: rig.handles.transferQueue)
        rig.fake.runAll()
    },
    Misuse("layout transition that waits for nothing", "SYNC-HAZARD-WRITE-AFTER-WRITE") { rig in
        let (source, image) = (rig.buffer(1024, type: 1), rig.image(16, 16))
        rig.submit(
            rig.commands(rig.pool()) {
                rig.transition($0, image.handle, undefined, destinationLayout)
                rig.copy($0, source, to: image.handle, [rig.region(16, 16)])
                rig.copy($0, source, to: image.handle, [rig.region(1, 1, x: 3)])
            })
        rig.fake.runAll()
    },
    Misuse("nothing tells the host", "SYNC-HAZARD-host") { rig in
        let chain = Chain(rig)
        rig.submit(rig.commands(chain.pool) { rig.copy($0, chain.a, chain.host, all) })
        rig.fake.runAll()
    },
    Misuse("ownership not handed over", "queue family ownership", .transferQueue(granularity: (1, 1, 1))) { rig in
        let chain = Chain(rig)
        rig.submit(rig.commands(chain.pool) { rig.copy($0, chain.host, chain.a, all) }, signal: (chain.done, 1))
        rig.submit(
            rig.commands(rig.pool(family: 1)) { rig.copy($0, chain.a, chain.b, all) }, on: rig.handles.transferQueue,
            wait: (chain.done, 1))
        rig.fake.runAll()
    },
    Misuse("acquired and never released", "queue family ownership", .transferQueue(granularity: (1, 1, 1))) { rig in
        let image = rig.image(16, 16)
        rig.submit(
            rig.commands(rig.pool()) {
                rig.transition($0, image.handle, undefined, destinationLayout, families: (1, 0))
            })
        rig.fake.runAll()
    },
    Misuse("submission without the lock", "queue lock", .with { $0.requiresLock = true }) { $0.submit() },
    Misuse("unlocked twice", "queue lock") { rig in
        rig.fake.queueLock.lock()
        rig.fake.queueLock.unlock()
        rig.fake.queueLock.unlock()
    },
    Misuse("wait for what nothing signals", "wait before signal") { rig in
        let semaphore = rig.semaphore(4)
        rig.submit(wait: (semaphore, 5))
    },
    Misuse("signal of a value that it has", "VUID-VkSubmitInfo2-semaphore-03882") { rig in
        let semaphore = rig.semaphore(4)
        rig.submit(signal: (semaphore, 4))
    },
    Misuse("signal of a value that is pending", "VUID-VkSubmitInfo2-semaphore-03882") { rig in
        let semaphore = rig.semaphore()
        rig.submit(signal: (semaphore, 2))
        rig.submit(signal: (semaphore, 2))
    },
    Misuse("host signal of a value that it has", "VUID-VkSemaphoreSignalInfo-value-03258") { rig in
        _ = rig.signal(rig.semaphore(4), 3)
    },
    Misuse("host signal beyond a pending value", "VUID-VkSemaphoreSignalInfo-value-03259") { rig in
        let semaphore = rig.semaphore()
        rig.submit(signal: (semaphore, 2))
        _ = rig.signal(semaphore, 3)
    },
    Misuse("command buffer for another family", "commandBuffer-03878", .transferQueue(granularity: (1, 1, 1))) { rig in
        rig.submit(rig.commands(rig.pool(family: 1)) { _ in })
    },
    Misuse("structure that does not say what it is", "VUID-VkSubmitInfo2-sType-sType") { rig in
        var submit = VkSubmitInfo2()
        _ = rig.vk.queueSubmit2(rig.handles.queue, 1, &submit, nil)
    },
    Misuse("host access without the host stage", "AccessMask-03916") { rig in
        _ = rig.commands(rig.pool()) { rig.barrier($0, access: VK_ACCESS_2_HOST_READ_BIT) }
    },
    Misuse("graphics stages on a transfer queue", "StageMask-03849", .transferQueue(granularity: (1, 1, 1))) { rig in
        _ = rig.commands(rig.pool(family: 1)) {
            rig.barrier($0, to: VK_PIPELINE_STAGE_2_FRAGMENT_SHADER_BIT, access: VK_ACCESS_2_SHADER_SAMPLED_READ_BIT)
        }
    },
]

private let orderedUses: [Misuse] = [
    Misuse("a barrier between", "none") { rig in
        let chain = Chain(rig)
        rig.submit(
            rig.commands(chain.pool) {
                rig.copy($0, chain.host, chain.a, all)
                rig.barrier($0)
                rig.copy($0, chain.a, chain.b, all)
                rig.barrier($0, wrote: 0, access: 0)
                rig.copy($0, chain.host, chain.a, all)
            })
        rig.fake.runAll()
    },
    Misuse("the host has seen the first before the second", "none") { rig in
        let chain = Chain(rig)
        for value in UInt64(1)...2 {
            rig.submit(rig.commands(chain.pool) { rig.copy($0, chain.host, chain.a, all) }, signal: (chain.done, value))
            rig.fake.runAll()
            _ = rig.value(chain.done)
        }
    },
    Misuse("a semaphore between", "none") { rig in
        let chain = Chain(rig)
        rig.submit(rig.commands(chain.pool) { rig.copy($0, chain.host, chain.a, all) }, signal: (chain.done, 1))
        rig.submit(rig.commands(chain.pool) { rig.copy($0, chain.a, chain.b, all) }, wait: (chain.done, 1))
        rig.fake.runAll()
    },
    Misuse("different bytes", "none") { rig in
        let chain = Chain(rig)
        rig.submit(
            rig.commands(chain.pool) {
                rig.copy($0, chain.host, chain.a, [(0, 0, 8)])
                rig.copy($0, chain.host, chain.a, [(0, 8, 8)])
            })
        rig.fake.runAll()
    },
    Misuse("the host is told", "none") { rig in
        let chain = Chain(rig)
        rig.submit(
            rig.commands(chain.pool) {
                rig.copy($0, chain.a, chain.host, all)
                rig.hostBarrier($0)
            })
        rig.fake.runAll()
    },
    Misuse("shared memory needs no barrier to the host", "none", .unified) { rig in
        let (a, b) = (rig.buffer(64, type: 0), rig.buffer(64, type: 0))
        rig.submit(rig.commands(rig.pool()) { rig.copy($0, a, b, [(0, 0, 64)]) })
        rig.fake.runAll()
    },
    Misuse("ownership handed over", "none", .transferQueue(granularity: (1, 1, 1))) { rig in
        let (source, image, done) = (rig.buffer(1024, type: 1), rig.image(16, 16), rig.semaphore())
        let shader = VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL
        rig.submit(
            rig.commands(rig.pool(family: 1)) {
                rig.transition($0, image.handle, undefined, destinationLayout)
                rig.copy($0, source, to: image.handle, [rig.region(16, 16)])
                rig.transition($0, image.handle, destinationLayout, shader, families: (1, 0))
            }, on: rig.handles.transferQueue, signal: (done, 1))
        rig.submit(
            rig.commands(rig.pool()) {
                rig.transition($0, image.handle, destinationLayout, shader, families: (1, 0))
            }, wait: (done, 1))
        rig.fake.runAll()
        try #require(rig.fake.layout(of: image.handle, mip: 0) == shader)
    },
]

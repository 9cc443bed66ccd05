import CVulkan
import FakeVulkan
import PenstockVulkan
import TestSupport
import Testing

/// What goes wrong because a test wants it to, and what a fake machine says of itself.
@Suite struct FakeFaults {
    @Test func deviceLostAtACallStaysLost() throws {
        let rig = try FakeRig(
            .with {
                $0.execution = .manual
                $0.faults = ["vkQueueSubmit2": [2: VK_ERROR_DEVICE_LOST]]
            })
        let done = rig.semaphore()
        #expect(rig.submit(signal: (done, 1)) == VK_SUCCESS)
        #expect(rig.submit(signal: (done, 2)) == VK_ERROR_DEVICE_LOST)
        #expect(rig.submit(signal: (done, 2)) == VK_ERROR_DEVICE_LOST)
        #expect(rig.wait(done, 1) == VK_ERROR_DEVICE_LOST)
        var value: UInt64 = 0
        #expect(rig.vk.getSemaphoreCounterValue(rig.device, done, &value) == VK_ERROR_DEVICE_LOST)
        #expect(rig.fake.runAll() == 0)
        rig.vk.destroySemaphore(rig.device, done, nil)
        #expect(rig.fake.violations.isEmpty)
    }

    @Test func waitingThreadLearnsThatTheDeviceIsLost() throws {
        let rig = try FakeRig()
        // Numbers, for any thread.
        nonisolated(unsafe) let done = rig.semaphore()
        nonisolated(unsafe) let waiting = rig.semaphore()
        rig.fake.setHook { if $0 == "vkWaitSemaphores" { _ = rig.signal(waiting, 1) } }
        let thread = TestThread { #expect(rig.wait(done, 1) == VK_ERROR_DEVICE_LOST) }
        while rig.value(waiting) == 0 {}
        rig.fake.setHook(nil)
        rig.fake.loseDevice()
        thread.join()
    }

    @Test func anyResultAtAnyCall() throws {
        let rig = try FakeRig()
        rig.fake.failNext("vkCreateSemaphore", with: VK_ERROR_OUT_OF_HOST_MEMORY)
        var info = VkSemaphoreCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO
        var semaphore: VkSemaphore?
        #expect(rig.vk.createSemaphore(rig.device, &info, nil, &semaphore) == VK_ERROR_OUT_OF_HOST_MEMORY)
        #expect(rig.fake.liveObjects.isEmpty)
        _ = rig.semaphore()
        #expect(rig.fake.count(of: "vkCreateSemaphore") == 2)
    }

    @Test func signalsCanComeLate() throws {
        let rig = try FakeRig()
        let (source, destination) = (rig.buffer(64, type: 1), rig.buffer(64, type: 0))
        source.memory.bytes!.storeBytes(of: 9, as: UInt8.self)
        let done = rig.semaphore()
        rig.submit(
            rig.commands(rig.pool()) { rig.copy($0, source, destination, [(0, 0, 64)]) }, signal: (done, 1))
        #expect(rig.fake.step(holdingSignals: true))
        #expect(rig.fake.contents(of: destination.handle)[0] == 9)
        #expect(rig.wait(done, 1, timeout: 0) == VK_TIMEOUT)
        #expect(rig.wait(done, 1, timeout: 1_000_000) == VK_TIMEOUT)
        rig.fake.releaseSignals()
        #expect(rig.wait(done, 1) == VK_SUCCESS)
        #expect(rig.fake.violations.isEmpty)
    }

    @Test func ownedDeviceIsMadeOnTheCurrentFake() throws {
        let fake = FakeVulkan(.with { $0.deviceName = "Oak" })
        let globals = try VulkanGlobals(fake.getInstanceProcAddr)
        var instance: VkInstance?
        var application = VkApplicationInfo()
        application.apiVersion = PENSTOCK_VK_API_VERSION_1_3
        let result = withUnsafePointer(to: &application) { application in
            var info = VkInstanceCreateInfo()
            info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO
            info.pApplicationInfo = application
            FakeVulkan.resignCurrent()
            #expect(globals.createInstance(&info, nil, &instance) == VK_ERROR_INCOMPATIBLE_DRIVER)
            return fake.withCurrent { globals.createInstance(&info, nil, &instance) }
        }
        #expect(result == VK_SUCCESS)
        let functions = try InstanceFunctions(instance!, fake.getInstanceProcAddr)
        #expect(functions.createDebugUtilsMessenger == nil)
        var count: UInt32 = 1
        var physicalDevice: VkPhysicalDevice?
        #expect(functions.enumeratePhysicalDevices(instance, &count, &physicalDevice) == VK_SUCCESS)
        var properties = VkPhysicalDeviceProperties2()
        properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2
        functions.getPhysicalDeviceProperties2(physicalDevice, &properties)
        #expect(withUnsafeBytes(of: properties.properties.deviceName) { $0.starts(with: Array("Oak\0".utf8)) })

        var device: VkDevice?
        let priority: Float = 1
        withUnsafePointer(to: priority) { priority in
            var queues = VkDeviceQueueCreateInfo()
            queues.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO
            queues.queueCount = 1
            queues.pQueuePriorities = priority
            withUnsafePointer(to: &queues) { queues in
                var info = VkDeviceCreateInfo()
                info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO
                info.queueCreateInfoCount = 1
                info.pQueueCreateInfos = queues
                #expect(functions.createDevice(physicalDevice, &info, nil, &device) == VK_SUCCESS)
            }
        }
        #expect(fake.violations.isEmpty)
        functions.destroyInstance(instance, nil)
        #expect(fake.takeViolations().map { $0.contains("VUID-vkDestroyInstance-instance-00629") } == [true])
        let vk = try DeviceFunctions(device!, functions.getDeviceProcAddr)
        #expect(vk.getMemoryHostPointerProperties == nil)
        var queue: VkQueue?
        vk.getDeviceQueue(device, 0, 0, &queue)
        #expect(queue != nil)

        var pool: VkCommandPool?
        var poolInfo = VkCommandPoolCreateInfo()
        poolInfo.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO
        #expect(vk.createCommandPool(device, &poolInfo, nil, &pool) == VK_SUCCESS)
        #expect(fake.violations.isEmpty)
        vk.destroyDevice(device, nil)
        #expect(fake.takeViolations().map { $0.contains("VUID-vkDestroyDevice-device-05137") } == [true])
        #expect(fake.liveObjects == [.commandPool: 1])
    }

    @Test func machineSaysWhatItIsConfiguredToBe() throws {
        let fake = FakeVulkan(
            .with {
                $0.queueFamilies = [.universal, .transferOnly(granularity: (16, 16, 8))]
                $0.budget = [.init(budget: 1000, usage: 10), .init(budget: 2000, usage: 20)]
            })
        let handles = fake.makeHandles()
        let functions = try InstanceFunctions(handles.instance, fake.getInstanceProcAddr)
        var families = [VkQueueFamilyProperties](repeating: .init(), count: 3)
        var count: UInt32 = 3
        functions.getPhysicalDeviceQueueFamilyProperties(handles.physicalDevice, &count, &families)
        #expect(count == 2)
        #expect(families[1].queueFlags == VK_QUEUE_TRANSFER_BIT.rawValue)
        #expect(families[1].minImageTransferGranularity.depth == 8)

        var budget = VkPhysicalDeviceMemoryBudgetPropertiesEXT()
        budget.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT
        var memory = VkPhysicalDeviceMemoryProperties2()
        memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2
        withUnsafeMutablePointer(to: &budget) { budget in
            memory.pNext = UnsafeMutableRawPointer(budget)
            functions.getPhysicalDeviceMemoryProperties2(handles.physicalDevice, &memory)
        }
        #expect(memory.memoryProperties.memoryTypeCount == 2)
        #expect(memory.memoryProperties.memoryTypes.1.heapIndex == 1)
        #expect((budget.heapBudget.0, budget.heapUsage.1) == (1000, 20))

        let empty = FakeVulkan(.with { $0.hasDevice = false })
        let nothing = empty.makeHandles()
        #expect(functions.enumeratePhysicalDevices(nothing.instance, &count, nil) == VK_SUCCESS)
        #expect(count == 0)
        #expect(fake.violations + empty.violations == [])
    }

    @Test func olderDeviceHasTheExtensionsNames() throws {
        _ = try FakeRig(.with { $0.apiVersion = PENSTOCK_VK_API_VERSION_1_2 })
        let fake = FakeVulkan(.with { $0.apiVersion = PENSTOCK_VK_API_VERSION_1_2 })
        let handles = fake.makeHandles(enabling: ["VK_KHR_copy_commands2"])
        let functions = try InstanceFunctions(handles.instance, fake.getInstanceProcAddr)
        #expect(throws: VulkanFailure.self) { try DeviceFunctions(handles.device, functions.getDeviceProcAddr) }
    }

    @Test func unknownFunctionIsNotThere() throws {
        let rig = try FakeRig()
        #expect("vkCmdCopyBuffer".withCString { rig.fake.getInstanceProcAddr(rig.handles.instance, $0) } == nil)
        #expect("vkQueueWaitIdle".withCString { rig.fake.getInstanceProcAddr(nil, $0) } == nil)
    }
}

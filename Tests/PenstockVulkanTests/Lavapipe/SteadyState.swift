import CVulkan
import Penstock
import PenstockVulkan
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// What of Vulkan's objects is made, and what of them lives: counted between the library and the driver, on the devices that
/// are made with this loader.
private enum Census {
    static let made = Atomic<Int>(0)
    static let living = Atomic<Int>(0)

    static let loader = try! VulkanLoader.open()
    nonisolated(unsafe) static var deviceFunction: PFN_vkGetDeviceProcAddr?
    nonisolated(unsafe) static var real: DeviceFunctions?

    static func note(_ result: VkResult) -> VkResult {
        if result == VK_SUCCESS {
            made.add(1, ordering: .relaxed)
            living.add(1, ordering: .relaxed)
        }
        return result
    }

    static func noteEnd<Handle>(_ handle: Handle?) {
        if handle != nil { living.subtract(1, ordering: .relaxed) }
    }

    /// `vkGetInstanceProcAddr`.
    static let find: GPUDevice.Adoption.FunctionLoader = { instance, name in
        let found = loader(instance, name)
        guard let found, let name, String(cString: name) == "vkGetDeviceProcAddr" else { return found }
        deviceFunction = unsafeBitCast(found, to: PFN_vkGetDeviceProcAddr.self)
        let counting: PFN_vkGetDeviceProcAddr = { device, name in
            if real == nil { real = try? DeviceFunctions(device!, deviceFunction!) }
            let counted = name.flatMap { functions[String(cString: $0)] }
            return counted ?? deviceFunction!(device, name)
        }
        return unsafeBitCast(counting, to: PFN_vkVoidFunction.self)
    }

    private static func address<Function>(_ function: Function) -> PFN_vkVoidFunction {
        unsafeBitCast(function, to: PFN_vkVoidFunction.self)
    }

    private static let functions: [String: PFN_vkVoidFunction] = {
        let allocate: PFN_vkAllocateMemory = { note(real!.allocateMemory($0, $1, $2, $3)) }
        let free: PFN_vkFreeMemory = {
            noteEnd($1)
            real!.freeMemory($0, $1, $2)
        }
        let createBuffer: PFN_vkCreateBuffer = { note(real!.createBuffer($0, $1, $2, $3)) }
        let destroyBuffer: PFN_vkDestroyBuffer = {
            noteEnd($1)
            real!.destroyBuffer($0, $1, $2)
        }
        let createImage: PFN_vkCreateImage = { note(real!.createImage($0, $1, $2, $3)) }
        let destroyImage: PFN_vkDestroyImage = {
            noteEnd($1)
            real!.destroyImage($0, $1, $2)
        }
        let createSemaphore: PFN_vkCreateSemaphore = { note(real!.createSemaphore($0, $1, $2, $3)) }
        let destroySemaphore: PFN_vkDestroySemaphore = {
            noteEnd($1)
            real!.destroySemaphore($0, $1, $2)
        }
        let createPool: PFN_vkCreateCommandPool = { note(real!.createCommandPool($0, $1, $2, $3)) }
        let destroyPool: PFN_vkDestroyCommandPool = {
            noteEnd($1)
            real!.destroyCommandPool($0, $1, $2)
        }
        return [
            "vkAllocateMemory": address(allocate), "vkFreeMemory": address(free),
            "vkCreateBuffer": address(createBuffer), "vkDestroyBuffer": address(destroyBuffer),
            "vkCreateImage": address(createImage), "vkDestroyImage": address(destroyImage),
            "vkCreateSemaphore": address(createSemaphore), "vkDestroySemaphore": address(destroySemaphore),
            "vkCreateCommandPool": address(createPool), "vkDestroyCommandPool": address(destroyPool),
        ]
    }()
}

extension DevicesInTurn {
    /// Ten thousand requests later everything is as it was. The counts are the process's, so it is one of its own.
    @Suite(.timeLimit(.minutes(5))) struct SteadyState {
        private static func requests(_ round: Int, _ file: StorageFile, _ buffer: GPUBuffer) -> [StorageRequest] {
            (0..<250).map { index in
                let count = 1 + (round * 250 + index) * 7919 % 30_000
                let start = index * 32_768
                return .read(from: file, at: UInt64(index * 1000), into: buffer[start..<start + count])
            }
        }

        private static func exercise(_ queue: StorageQueue, _ way: Way, _ file: StorageFile, _ device: GPUDevice)
            async throws
        {
            let buffer = try device.makeBuffer(byteCount: 8 << 20)
            let image = try device.makeImage(
                .init(format: VK_FORMAT_BC7_UNORM_BLOCK.rawValue, width: 128, height: 128, mipLevels: 8))
            let host = try await queue.allocate(byteCount: 1 << 20)
            func round(_ number: Int) async throws {
                let results = await queue.perform(requests(number, file, buffer))
                #expect(results.allSatisfy { $0.value != nil })
                for index in 0..<10 {
                    try await queue.read(from: file, at: UInt64(index), into: buffer[0..<50_000])
                    try await queue.read(from: file, at: UInt64(index), into: image.whole())
                    try await queue.write(buffer[0..<100_000], to: host[0..<100_000])
                }
            }
            // The first rounds and the largest requests make what stays: slabs, and the arrays of Penstock's own.
            let all = try await queue.read(from: file, into: buffer[...])
            #expect(all == 8 << 20)
            for number in 0..<4 { try await round(number) }
            let (made, living) = (Census.made.load(ordering: .relaxed), Census.living.load(ordering: .relaxed))
            #expect(living > 0)
            for number in 0..<36 { try await round(number) }
            #expect(Census.made.load(ordering: .relaxed) == made, "\(way): objects were made")
            #expect(Census.living.load(ordering: .relaxed) == living, "\(way): objects were made or lost")
        }

        @Test func tenThousandRequestsMakeNothingOfVulkans() async {
            await #expect(processExitsWith: .success) {
                let directory = TemporaryDirectory()
                let path = directory.make("file", count: 8 << 20)
                for way in Way.allCases {
                    for driver in Driver.allCases {
                        try await withValidatedDevice({
                            way.configure(&$0)
                            $0.functionLoader = Census.find
                        }) { device in
                            try await withStorageQueue(driver.configuration()) { queue in
                                let file = try await queue.open(path)
                                try await SteadyState.exercise(queue, way, file, device)
                            }
                        }
                        #expect(Census.living.load(ordering: .relaxed) == 0, "\(way) \(driver): left behind")
                        Census.real = nil
                    }
                }
            }
        }
    }
}

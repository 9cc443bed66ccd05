import CVulkan
import Glibc
import Penstock
import PenstockVulkan
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// A device of the application's, whose queue it uses itself.
final class Application: @unchecked Sendable {  // the mutex guards the queue; the rest is constant, or the test's own
    let raw: RawDevice
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let owned: GPUDevice

    init(_ device: GPUDevice) {
        owned = device
        raw = RawDevice(device)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func lock() { pthread_mutex_lock(mutex) }
    func unlock() { pthread_mutex_unlock(mutex) }

    func withQueue<R>(_ body: () -> R) -> R {
        lock()
        defer { unlock() }
        return body()
    }

    enum Mode { case locked, recorded }

    /// The application's device, adopted.
    func adopt(_ mode: Mode = .locked, _ way: Way = .imported) throws -> GPUDevice {
        var adoption = GPUDevice.Adoption(
            instance: owned.instance, physicalDevice: owned.physicalDevice, device: owned.device, queue: owned.queue,
            queueFamily: owned.queueFamily)
        if way != .allocated { adoption.enabled.insert(.externalMemoryHost) }
        adoption.landsDirectly = way == .direct
        switch mode {
        case .locked:
            adoption.submitMode = .locked(lock: { [self] in lock() }, unlock: { [self] in unlock() })
        case .recorded: adoption.submitMode = .recorded
        }
        return try GPUDevice(adopting: adoption)
    }

    /// Has the GPU signal a point. Not the host: the validation layer 1.3.239 mixes up a host's signal with a submission
    /// that another thread makes before `vkSignalSemaphore` has returned (UNASSIGNED-VkSemaphore-state-timeout).
    func signal(_ point: GPUSemaphorePoint) {
        let submitted = withQueue { raw.submit(nil, signal: [point]) }
        precondition(submitted == VK_SUCCESS)
    }

    /// Has the GPU copy from one buffer to another after a point, and waits for the end.
    func copy(
        from source: VkBuffer, to destination: VkBuffer, count: Int, after: GPUSemaphorePoint? = nil
    ) {
        let commands = raw.makeCommands()
        let timeline = raw.makeTimeline()
        raw.begin(commands)
        raw.copy(commands, from: source, to: destination, count: count)
        raw.barrier(commands)
        raw.end(commands)
        let done = timeline.at(1)
        let submitted = withQueue { raw.submit(commands, after: after, signal: [done]) }
        precondition(submitted == VK_SUCCESS)
        precondition(raw.wait(for: done) == VK_SUCCESS)
        raw.destroy(commands)
        raw.destroy(timeline)
    }
}

/// Calls `body` with an application on a validated device. What `body` adopts is to be gone when it returns.
func withApplication(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: (Application) async throws -> Void
) async throws {
    try await withValidatedDevice(sourceLocation: sourceLocation) { device in
        weak var lives: Application?
        do {
            let application = Application(device)
            lives = application
            try await body(application)
        }
        // Adopted devices hold their application through the lock.
        await yields { lives == nil }
        #expect(lives == nil, "something keeps the adopted device alive", sourceLocation: sourceLocation)
    }
}

extension DevicesInTurn {
    /// What belongs to the application stays its own, and its queue is only touched as agreed.
    @Suite(.timeLimit(.minutes(5))) struct AdoptedDevices {
        private let directory = TemporaryDirectory()

        @Test(arguments: Way.allCases)
        func applicationSubmitsToTheSameQueueAllTheWhile(_ way: Way) async throws {
            let path = directory.make("file", count: 4 << 20)
            try await withApplication { application in
                let raw = application.raw
                let (source, destination) = (raw.makeBuffer(65_536), raw.makeBuffer(65_536))
                FilePattern(42).fill(source.bytes, at: 0)
                let progress = Progress()
                do {
                    let device = try application.adopt(.locked, way)
                    #expect(device.isAdopted && device.queue == raw.queue)
                    let thread = TestThread {
                        while !progress.isOver.load(ordering: .relaxed) {
                            application.copy(from: source.handle, to: destination.handle, count: 65_536)
                            progress.rounds.add(1, ordering: .relaxed)
                        }
                    }
                    try await withStorageQueue { queue in
                        let buffer = try device.makeBuffer(byteCount: 1 << 20)
                        let file = try await queue.open(path)
                        var round = 0
                        // Until both have had their share.
                        while round < 20 || progress.rounds.load(ordering: .relaxed) < 20 {
                            let requests = (0..<64).map { index in
                                StorageRequest.read(
                                    from: file, at: UInt64(round % 30 * 65_536 + index),
                                    into: buffer[index * 16_384..<index * 16_384 + 16_000])
                            }
                            let results = await queue.perform(requests)
                            #expect(results.allSatisfy { $0.value == 16_000 })
                            round += 1
                        }
                        for index in 0..<64 {
                            let slice = buffer[index * 16_384..<index * 16_384 + 16_000]
                            let offset = UInt64((round - 1) % 30 * 65_536 + index)
                            #expect(try await FilePattern().matches(slice, at: offset, queue))
                        }
                    }
                    progress.isOver.store(true, ordering: .relaxed)
                    thread.join()
                }
                // The application's device is as it was.
                memset(destination.bytes.baseAddress!, 0, 65_536)
                application.copy(from: source.handle, to: destination.handle, count: 65_536)
                let mismatch = FilePattern(42).mismatch(UnsafeRawBufferPointer(destination.bytes), at: 0)
                #expect(mismatch == nil)
                raw.destroy(source)
                raw.destroy(destination)
            }
        }

        @Test func applicationsBuffersAreUsedAndLeftToIt() async throws {
            let path = directory.make("file", count: 1 << 20)
            try await withApplication { application in
                let raw = application.raw
                let target = raw.makeBuffer(1 << 20)
                for isMapped in [false, true] {
                    memset(target.bytes.baseAddress!, 0, target.bytes.count)
                    do {
                        let device = try application.adopt(.locked, .direct)
                        try await withStorageQueue { queue in
                            let buffer = device.adopt(
                                buffer: target.handle, byteCount: 1 << 20,
                                mapped: isMapped ? target.bytes.baseAddress : nil)
                            let file = try await queue.open(path)
                            #expect(try await queue.read(from: file, into: buffer[...]) == 1 << 20)
                            #expect(try await FilePattern().matches(buffer[...], queue))
                        }
                    }
                    let mismatch = FilePattern().mismatch(UnsafeRawBufferPointer(target.bytes), at: 0)
                    #expect(mismatch == nil)
                }
                raw.destroy(target)
            }
        }

        @Test func applicationsImagesAreUsedAndLeftToIt() async throws {
            let description = GPUImage.Description(
                format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: 64, height: 64, mipLevels: 7)
            try await withApplication { application in
                // Made by another GPUDevice, which plays the application.
                let maker = try application.adopt()
                let image = try maker.makeImage(description)
                let path = directory.make("file", count: image.byteCount)
                for _ in 0..<2 {
                    let device = try application.adopt()
                    try await withStorageQueue { queue in
                        let adopted = try device.adopt(image: image.handle, description)
                        let file = try await queue.open(path)
                        try await queue.read(from: file, into: adopted.whole())
                        let host = try await queue.allocate(byteCount: image.byteCount)
                        try await queue.write(
                            adopted.whole(from: .shaderReadOnly, to: .shaderReadOnly), to: host[...])
                        #expect(FilePattern().matches(host))
                    }
                }
            }
        }

        @Test func recordedCopiesGoWithTheApplicationsOwnSubmission() async throws {
            let path = directory.make("file", count: 4 << 20)
            try await withApplication { application in
                let raw = application.raw
                let device = try application.adopt(.recorded)
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 4 << 20)
                    let image = try device.makeImage(
                        .init(format: VK_FORMAT_BC7_UNORM_BLOCK.rawValue, width: 256, height: 256, mipLevels: 9))
                    let file = try await queue.open(path)
                    let loads = [
                        Task { try await queue.read(from: file, into: buffer[0..<3 << 20]) },
                        Task { try await queue.read(from: file, at: 1, into: buffer[3 << 20..<4 << 20]) },
                        Task { try await queue.read(from: file, at: 2, into: image.whole()) },
                    ]
                    let ended = Shared(0)
                    let waiting = loads.map { load in
                        Task {
                            _ = try await load.value
                            ended.change { $0 += 1 }
                        }
                    }
                    try await submitRecorded(application, device, queue) { ended.now == loads.count }
                    for task in waiting { try await task.value }
                    #expect(try await loads[0].value == 3 << 20)
                    #expect(try await loads[2].value == image.byteCount)

                    let host = try await queue.allocate(byteCount: 4 << 20)
                    let texels = try await queue.allocate(byteCount: image.byteCount)
                    let back = Task {
                        try await queue.write(buffer[...], to: host[...])
                        try await queue.write(
                            image.whole(from: .shaderReadOnly, to: .shaderReadOnly), to: texels[...])
                        ended.change { $0 += 1 }
                    }
                    try await submitRecorded(application, device, queue) { ended.now == loads.count + 1 }
                    try await back.value
                    #expect(FilePattern().matches(host[0..<3 << 20], at: 0))
                    #expect(FilePattern().matches(host[(3 << 20)...], at: 1))
                    #expect(FilePattern().matches(texels, at: 2))
                    // Nothing is left to record.
                    let commands = raw.makeCommands()
                    raw.begin(commands)
                    #expect(try await queue.recordTransfers(to: device, into: commands.buffer) == nil)
                    raw.end(commands)
                    raw.destroy(commands)
                }
            }
        }

        @Test func recordedPagesAreDecoded() async throws {
            var random = seededOnce("recorded pages")
            let packed = try PackedFile(200, &random)
            try packed.write(directory["packed"], at: 3)
            try await withApplication { application in
                let device = try application.adopt(.recorded)
                try await withStorageQueue { queue in
                    let file = try await queue.open(directory["packed"])
                    let slice = try device.makeBuffer(byteCount: packed.decoded.count)[...]
                    let host = try await queue.allocate(byteCount: slice.count)
                    _ = host[...].withUnsafeMutableBytes {
                        $0.initializeMemory(as: UInt8.self, repeating: PackedFile.untouched)
                    }
                    let hasEnded = Shared(false)
                    let load = Task {
                        defer { hasEnded.change { $0 = true } }
                        try await queue.read(from: host[...], into: slice)
                        let count = try await slice.decode(packed.decoding, from: file, at: 3, queue)
                        try await queue.write(slice, to: host[...])
                        return count
                    }
                    try await submitRecorded(application, device, queue) { hasEnded.now }
                    #expect(try await load.value == packed.bytes.count)
                    let isSame = host.withUnsafeBytes { $0.elementsEqual(packed.decoded) }
                    #expect(isSame, "seed \(random.seed)")
                }
            }
        }

        /// Plays the application's frames: each has a command buffer of its own, into which what waits is recorded.
        private func submitRecorded(
            _ application: Application, _ device: GPUDevice, _ queue: StorageQueue, until isOver: () -> Bool
        ) async throws {
            let raw = application.raw
            while !isOver() {
                let commands = raw.makeCommands()
                raw.begin(commands)
                var point: GPUSemaphorePoint?
                while point == nil, !isOver() {
                    point = try await queue.recordTransfers(to: device, into: commands.buffer)
                }
                raw.end(commands)
                if let point {
                    #expect(application.withQueue { raw.submit(commands, signal: [point]) } == VK_SUCCESS)
                    #expect(raw.wait(for: point) == VK_SUCCESS)
                }
                raw.destroy(commands)
            }
        }

        @Test func semaphoresOfRecordedCopiesAreTheApplicationsToSignal() async throws {
            let path = directory.make("file", count: 4096)
            try await withApplication { application in
                let device = try application.adopt(.recorded)
                let timeline = application.raw.makeTimeline()
                try await withStorageQueue { queue in
                    let buffer = try device.makeBuffer(byteCount: 4096)
                    let file = try await queue.open(path)
                    await expectFailure(.invalidArgument) {
                        try await queue.read(
                            from: file, into: buffer[...], synchronization: .init(signal: [timeline.at(1)]))
                    }
                    #expect(application.raw.value(of: timeline) == 0)
                }
                application.raw.destroy(timeline)
            }
        }

        @Test func recordingIsForDevicesThatDoNotSubmit() async throws {
            try await withApplication { application in
                let device = try application.adopt(.locked)
                try await withStorageQueue { queue in
                    let commands = application.raw.makeCommands()
                    application.raw.begin(commands)
                    await expectFailure(.invalidArgument) {
                        try await queue.recordTransfers(to: device, into: commands.buffer)
                    }
                    application.raw.end(commands)
                    application.raw.destroy(commands)
                }
            }
        }
    }
}

/// What a thread and its test tell one another.
private final class Progress: Sendable {
    let isOver = Atomic<Bool>(false)
    let rounds = Atomic<Int>(0)
}

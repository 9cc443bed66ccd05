import CTestShims
import Glibc
import Penstock
import PenstockVulkan
import SystemPackage
import TestSupport
import Testing

extension DevicesInTurn {
    /// Machines without Vulkan, or without what it needs: each in a process of its own, whose environment is changed.
    @Suite(.timeLimit(.minutes(5))) struct Machines {
        /// Host memory is streamed all the same.
        private static func expectHostReads() async throws {
            let directory = TemporaryDirectory()
            let path = directory.make("file", count: 100_000)
            try await withStorageQueue { queue in
                let loaded = try await queue.load(path)
                #expect(loaded.count == 100_000 && FilePattern().matches(loaded))
                #expect(queue.capabilities["GPU"] == nil)
            }
        }

        @Test func withoutALoaderTheErrorSaysWhatToInstall() async {
            await #expect(processExitsWith: .success) {
                // Dispatch traps when its timer thread finds no descriptor: let it have its own first.
                try await Task.sleep(for: .milliseconds(1))
                // `dlopen` then finds no library, as where there is none. No number at all is allowed, since what others have
                // open now may be closed and its number free a moment later.
                #expect(test_limit_open_files(0) == 0)
                for _ in 0..<2 {
                    do throws(StorageError) {
                        _ = try GPUDevice()
                        Issue.record("a device without a loader")
                    } catch {
                        #expect(error.code == .unavailable && error.operation == .setUp, "\(error)")
                        #expect(error.message.contains("libvulkan1") && error.message.contains("vulkan-icd-loader"))
                    }
                }
                #expect(test_limit_open_files(10_000) == 0)
                try await Machines.expectHostReads()
            }
        }

        @Test func withoutADeviceTheErrorSaysWhatToInstall() async {
            await #expect(processExitsWith: .success) {
                setenv("VK_ICD_FILENAMES", "/nonexistent/driver.json", 1)
                setenv("VK_DRIVER_FILES", "/nonexistent/driver.json", 1)
                for _ in 0..<2 {
                    do throws(StorageError) {
                        _ = try GPUDevice()
                        Issue.record("a device without a driver")
                    } catch {
                        #expect(error.code == .unavailable && error.operation == .setUp, "\(error)")
                        #expect(error.message.contains("mesa-vulkan-drivers"), "\(error)")
                    }
                }
                try await Machines.expectHostReads()
            }
        }

        @Test func withoutTheLayerValidationSaysWhatToInstall() async {
            await #expect(processExitsWith: .success) {
                setenv("VK_LAYER_PATH", "/nonexistent", 1)
                var configuration = GPUDevice.Configuration()
                configuration.validation = { _ in }
                do throws(StorageError) {
                    _ = try GPUDevice(configuration)
                    Issue.record("validation without its layer")
                } catch {
                    #expect(error.code == .unavailable && error.message.contains("vulkan-validationlayers"), "\(error)")
                }
                // Without validation there is a device.
                _ = try GPUDevice()
            }
        }

        @Test func deviceIsChosenByName() async {
            await #expect(processExitsWith: .success) {
                setenv("PENSTOCK_VK_DEVICE", "a device of no name", 1)
                do throws(StorageError) {
                    _ = try GPUDevice()
                    Issue.record("a device of that name")
                } catch {
                    #expect(error.code == .unavailable && error.message.contains("llvmpipe"), "\(error)")
                }
                setenv("PENSTOCK_VK_DEVICE", "LLVMpipe", 1)
                let device = try GPUDevice()
                #expect(device.name.contains("llvmpipe"))
                // What the program asks for goes before the environment.
                var configuration = GPUDevice.Configuration()
                configuration.name = "nothing"
                let named = configuration
                await expectFailure(.unavailable) { try GPUDevice(named) }
            }
        }
    }
}

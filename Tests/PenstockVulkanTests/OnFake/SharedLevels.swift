import CVulkan
import FakeVulkan
import Penstock
import PenstockVulkan
import TestSupport
import Testing

extension DevicesInTurn {
    /// Requests in flight together that share a mip level and leave it in its layout. The fake complains if a copy or a
    /// barrier finds it in another.
    @Suite(.timeLimit(.minutes(5))) struct SharedLevels {
        private let scratch = Scratch()
        private static let (width, height) = (512, 2048)
        private static let rowBytes = width * 4

        private static func band(_ rows: Range<Int>, layers: Range<Int> = 0..<1) -> GPUImage.Part {
            var part = GPUImage.Part(layers: layers)
            (part.y, part.height) = (rows.lowerBound, rows.count)
            return part
        }

        private static func image(_ machine: FakeMachine, layers: Int = 1) async throws -> GPUImage {
            let image = try machine.device.makeImage(
                .init(format: VK_FORMAT_R8G8B8A8_UNORM.rawValue, width: width, height: height, arrayLayers: layers),
                usage: VK_IMAGE_USAGE_SAMPLED_BIT.rawValue)
            let zeros = try await machine.queue.allocate(byteCount: image.byteCount)
            try await machine.queue.read(from: zeros[...], into: image.whole())
            return image
        }

        /// Many small ones in few submissions, in layers that overlap in part.
        @Test(arguments: [0, 1 << 20])
        func tilesOfATextureThatIsInUse(_ inlineLimit: Int) async throws {
            let path = scratch.make("in", count: 1 << 20)
            try await FakeMachine.run(queue: { $0.inlineLimit = inlineLimit }) { machine in
                let file = try await machine.queue.open(path)
                let image = try await Self.image(machine, layers: 2)
                let requests = (0..<128).map { index in
                    let isBoth = index < 64
                    let part = Self.band(index * 4..<index * 4 + 4, layers: isBoth ? 0..<2 : index % 2..<index % 2 + 1)
                    return StorageRequest.read(
                        from: file, at: UInt64(index * 4 * Self.rowBytes),
                        into: image.parts([part], from: .shaderReadOnly, to: .shaderReadOnly))
                }
                for result in await machine.queue.perform(requests.shuffled()) { #expect(result.success != nil) }
                // A tile of both layers has that of the first in front.
                let tile = 4 * Self.rowBytes
                for layer in 0..<2 {
                    #expect(machine.layout(image, layer: layer) == .shaderReadOnly)
                    let texels = machine.fake.contents(of: image.handle, mip: 0, layer: layer)
                    let areBothThere = Salted().matches(texels[..<(64 * tile)], at: layer * tile)
                    #expect(areBothThere)
                    for index in stride(from: 64 + layer, to: 128, by: 2) {
                        let own = index * tile..<(index + 1) * tile
                        let isThere = Salted().matches(texels[own], at: own.lowerBound)
                        #expect(isThere)
                    }
                }
            }
        }

        /// Large ones that take several submissions each, of which any may fail.
        @Test(arguments: 0...10)
        func bandsThatTakeSeveralSubmissions(_ failing: Int) async throws {
            let path = scratch.make("in", count: Self.height * Self.rowBytes)
            try await FakeMachine.run(.with { $0.execution = .manual }) { machine in
                let queue = machine.queue
                let file = try await queue.open(path)
                machine.fake.setExecution(.automatic)
                let image = try await Self.image(machine)
                machine.fake.setExecution(.manual)
                if failing > 0 {
                    machine.fake.fail(
                        "vkQueueSubmit2", at: machine.submitCount + failing, with: VK_ERROR_OUT_OF_DEVICE_MEMORY)
                }
                let bands = [0..<1000, 1000..<1001, 1001..<1900, 1900..<2048]
                let ends = Log<Range<Int>?>()
                let tasks = bands.map { rows in
                    Task {
                        let region = image.parts([Self.band(rows)], from: .shaderReadOnly, to: .shaderReadOnly)
                        do throws(StorageError) {
                            try await queue.read(
                                from: file, at: UInt64(rows.lowerBound * Self.rowBytes), into: region)
                            ends.add(rows)
                        } catch {
                            #expect(error.code == .deviceMemory)
                            ends.add(nil)
                        }
                    }
                }
                try await machine.reach("the end of all") {
                    _ = machine.fake.step()
                    return ends.all.count == bands.count
                }
                for task in tasks { await task.value }
                #expect(machine.layout(image) == .shaderReadOnly)
                let texels = machine.fake.contents(of: image.handle, mip: 0)
                let done = ends.all.compactMap(\.self)
                #expect(failing > 0 || done.count == bands.count)
                for rows in done {
                    let bytes = rows.lowerBound * Self.rowBytes..<rows.upperBound * Self.rowBytes
                    let isThere = Salted().matches(texels[bytes], at: bytes.lowerBound)
                    #expect(isThere, "\(rows)")
                }
            }
        }
    }
}

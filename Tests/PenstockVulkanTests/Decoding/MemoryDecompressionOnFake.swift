import CVulkan
import FakeVulkan
import Penstock
import PenstockCompression
import SystemPackage
import TestSupport
import Testing

@testable import PenstockVulkan

extension DevicesInTurn {
    /// Which pages the driver decodes where it can, and that it hears of no others.
    @Suite(.timeLimit(.minutes(5))) struct MemoryDecompressionOnFake {
        private let scratch = Scratch()
        private let decoders = FakeDecoders()

        private static let codec = GDeflate(level: 1, framing: .page)
        private static let hash: DecodingRequest.Hash = { bytes in
            bytes.withUnsafeBytes { $0.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 } }
        }

        /// Chunks in a file, which the driver's decoder knows.
        private struct Packed {
            let file: StorageFile
            let bytes: [UInt8]
            var chunks: [EncodedChunk]
        }

        /// Six pages, the third of which cannot be made smaller, and a short one.
        private func pack(_ queue: StorageQueue) async throws -> Packed {
            let page = GDeflate.pageSize
            var bytes = Salted(7).bytes(0..<6 * page + 1001).map { $0 & 0x0F }
            bytes.replaceSubrange(2 * page..<3 * page, with: Salted(8).bytes(0..<page))
            let path = scratch.file("pages")
            let file = try await queue.open(path, [.readWrite, .create, .truncate])
            let host = try await queue.allocate(byteCount: bytes.count)
            host.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
            let chunks = try await queue.write(host[...], to: file, at: 3, encoding: Self.codec, checkedBy: Self.hash)
            #expect(chunks.map(\.isStored) == [false, false, true, false, false, false, false])
            let packed = Packed(file: file, bytes: bytes, chunks: chunks)
            for chunk in chunks where !chunk.isStored {
                decoders.know(EncodedPage(bytes: encoded(chunk), count: chunk.decodedCount))
            }
            return packed
        }

        private func encoded(_ chunk: EncodedChunk) -> [UInt8] {
            Array(scratch.contents("pages")[Int(chunk.offset)..<Int(chunk.offset) + chunk.count])
        }

        /// Reads the chunks, and expects so many to be decoded by each.
        private func read(
            _ packed: Packed, _ machine: FakeMachine, driver: Int, shader: Int, isChecked: Bool = true
        ) async throws {
            let (before, driven, shaded) = (
                machine.queue.decodingStatistics, decoders.byDriver.all.count, decoders.byShader.all.count
            )
            let buffer = try await machine.buffer(packed.bytes.count + 3, mark: 0xA5)
            let count = try await machine.queue.read(
                from: packed.file, chunks: packed.chunks, into: buffer[1..<packed.bytes.count + 1],
                decoding: Self.codec, checkedBy: isChecked ? Self.hash : nil)
            #expect(count == packed.bytes.count)
            let isSame = machine.contents(buffer) == [0xA5] + packed.bytes + [0xA5, 0xA5]
            #expect(isSame)
            let after = machine.queue.decodingStatistics
            #expect(Int(after.memoryDecompression.chunks - before.memoryDecompression.chunks) == driver)
            #expect(Int(after.gpu.chunks - before.gpu.chunks) == driver + shader)
            #expect(decoders.byDriver.all.count - driven == driver)
            #expect(decoders.byShader.all.count - shaded == shader)
            #expect(decoders.strangers.all.isEmpty)
        }

        @Test(arguments: DecompressionOffer.allCases, [false, true])
        func whatIsOfferedIsUsed(_ offer: DecompressionOffer, _ isOwned: Bool) async throws {
            var configuration = decoders.machine(offer.extensions)
            offer.change(&configuration)
            try await FakeMachine.run(configuration, isOwned: isOwned) { machine in
                let packed = try await pack(machine.queue)
                machine.queue.setDecodingPolicy(DecodingPolicy(.gpu))
                let decompresses = offer.expected != nil
                try await read(packed, machine, driver: decompresses ? 6 : 0, shader: decompresses ? 0 : 6)
                #expect(machine.device.decompression?.kind == offer.expected)
                // All pages of a batch by one command, and none of the shader's without pages for it.
                #expect((machine.fake.count(of: "vkCmdDecompressMemoryEXT") > 0) == (offer.expected == .ext))
                #expect((machine.fake.count(of: "vkCmdDecompressMemoryNV") > 0) == (offer.expected == .nv))
                let commands = ["vkCmdDecompressMemoryEXT", "vkCmdDecompressMemoryNV", "vkCmdDispatch"]
                #expect(commands.reduce(0) { $0 + machine.fake.count(of: $1) } <= 2)
                let rung = try #require(machine.queue.capabilities["GPU decoding"]?.rung)
                #expect(rung.contains("memory_decompression") == decompresses)
                if let expected = offer.expected { #expect(rung.contains(expected.rawValue)) }
            }
        }

        @Test func anAdoptedDeviceUsesWhatWasEnabledOnly() async throws {
            let all = decoders.machine(DecompressionOffer.both.extensions)
            for enabled in [GPUDevice.Adoption.Enabled(), .memoryDecompressionNV, .memoryDecompression] {
                try await FakeMachine.run(
                    all,
                    adopting: { adoption, _ in
                        adoption.enabled.subtract([.memoryDecompression, .memoryDecompressionNV])
                        adoption.enabled.formUnion(enabled)
                    }
                ) { machine in
                    let packed = try await pack(machine.queue)
                    machine.queue.setDecodingPolicy(DecodingPolicy(.gpu))
                    let expected: MemoryDecompression.Extension? =
                        enabled == .memoryDecompression ? .ext : enabled.isEmpty ? nil : .nv
                    #expect(machine.device.decompression?.kind == expected)
                    try await read(
                        packed, machine, driver: expected == nil ? 0 : 6, shader: expected == nil ? 6 : 0)
                }
            }
        }

        @Test(arguments: MemoryDecompression.Extension.allCases)
        func whatIsNotVerifiedIsTheShaders(_ kind: MemoryDecompression.Extension) async throws {
            try await FakeMachine.run(decoders.machine([kind.rawValue, "VK_KHR_maintenance5"])) { machine in
                let packed = try await pack(machine.queue)
                machine.queue.setDecodingPolicy(DecodingPolicy(.gpu))
                try await read(packed, machine, driver: 6, shader: 0)
                try await read(packed, machine, driver: 0, shader: 6, isChecked: false)
                // Some chunks without a checksum.
                var partly = packed
                for index in [1, 4] { partly.chunks[index].checksum = nil }
                try await read(partly, machine, driver: 4, shader: 2)
                machine.queue.setDecodingPolicy(DecodingPolicy(.gpu, allowsMemoryDecompression: false))
                try await read(packed, machine, driver: 0, shader: 6)
                machine.queue.setDecodingPolicy(DecodingPolicy(.cpu))
                try await read(packed, machine, driver: 0, shader: 0)
            }
        }

        /// Damage is found before the driver hears of it.
        @Test func aDamagedChunkDoesNotReachTheDriver() async throws {
            try await FakeMachine.run(decoders.machine(DecompressionOffer.ext.extensions)) { machine in
                let packed = try await pack(machine.queue)
                machine.queue.setDecodingPolicy(DecodingPolicy(.gpu))
                let buffer = try machine.device.makeBuffer(byteCount: packed.bytes.count)
                for index in [0, 4, 6] {
                    let whole = encoded(packed.chunks[index])
                    var damaged = whole
                    damaged[damaged.count / 2] ^= 0x10
                    try patch(damaged, packed.chunks[index])
                    let error = await expectError(.checksumMismatch) {
                        try await machine.queue.read(
                            from: packed.file, chunks: packed.chunks, into: buffer[...], decoding: Self.codec,
                            checkedBy: Self.hash)
                    }
                    #expect(error?.path == packed.file.path)
                    try patch(whole, packed.chunks[index])
                }
                #expect(decoders.strangers.all.isEmpty)
                try await read(packed, machine, driver: 6, shader: 0)
            }
        }

        /// With a right checksum, bytes that cannot be a page are the shader's to refuse.
        @Test func whatCannotBeAPageIsTheShaders() async throws {
            try await FakeMachine.run(decoders.machine(DecompressionOffer.both.extensions)) { machine in
                let packed = try await pack(machine.queue)
                machine.queue.setDecodingPolicy(DecodingPolicy(.gpu))
                var chunk = packed.chunks[1]
                chunk.count -= 1
                chunk.checksum = encoded(chunk).withUnsafeBytes { Self.hash(RawSpan(_unsafeBytes: $0)) }
                let buffer = try machine.device.makeBuffer(byteCount: chunk.decodedCount)
                await expectError(.malformedData) {
                    try await machine.queue.read(
                        from: packed.file, chunks: [chunk], into: buffer[...], decoding: Self.codec,
                        checkedBy: Self.hash)
                }
                #expect(decoders.byShader.all == [encoded(chunk)])
                #expect(decoders.strangers.all.isEmpty && decoders.byDriver.all.isEmpty)
            }
        }

        /// Nothing notices a wrong size; but there is room for any page, and what one does not hold is zero.
        @Test(arguments: [-1000, 1000])
        func aWrongSizeTouchesNothingElse(_ difference: Int) async throws {
            try await FakeMachine.run(decoders.machine(DecompressionOffer.ext.extensions)) { machine in
                let packed = try await pack(machine.queue)
                machine.queue.setDecodingPolicy(DecodingPolicy(.gpu))
                var last = packed.chunks[6]
                #expect(last.decodedCount == 1001)
                last.decodedCount += difference
                let buffer = try await machine.buffer(last.decodedCount + 2 * GDeflate.pageSize, mark: 0xA5)
                let end = last.decodedCount + GDeflate.pageSize
                try await machine.queue.read(
                    from: packed.file, chunks: [last, packed.chunks[0]], into: buffer[0..<end],
                    decoding: Self.codec, checkedBy: Self.hash)
                let page = packed.bytes.suffix(1001)
                let first = Array(page + [UInt8](repeating: 0, count: max(0, difference))).prefix(last.decodedCount)
                let isSame =
                    machine.contents(buffer)
                    == first + packed.bytes.prefix(GDeflate.pageSize)
                    + [UInt8](repeating: 0xA5, count: GDeflate.pageSize)
                #expect(isSame)
            }
        }

        /// Pages of both kinds in one batch, at every alignment; what is beside them is as it was.
        @Test(arguments: MemoryDecompression.Extension.allCases)
        func bothDecodersShareABatch(_ kind: MemoryDecompression.Extension) async throws {
            var random = seededOnce("pages for both decoders")
            var pages: [EncodedPage] = []
            for sample in Sample.allCases {
                for size in [1, 123, 3000, 65_535, 65_536] {
                    let page = try EncodedPage(sample.bytes(size, &random), level: 1)
                    #expect(page.bytes.count % 4 == 0)
                    decoders.know(page)
                    pages.append(page)
                }
            }
            var configuration = FakeVulkan.Configuration.unified
            configuration.kernel = decoders.machine().kernel
            configuration.decompressor = decoders.machine().decompressor
            configuration.deviceExtensions = [kind.rawValue, "VK_KHR_maintenance5"]
            let fake = try FakeRig(configuration)
            do {
                let rig = try ShaderRig(GPUDevice(adopting: FakeMachine.adoption(fake)), pages: 48)
                defer { rig.destroy() }
                for share in [0, 30, 100] {
                    let isVerified = pages.map { _ in random.chance(share) }
                    let decompressed = rig.decompressed
                    let decoded = try rig.decode(pages) { isVerified[$0] }
                    let areSame = zip(pages, decoded).allSatisfy { $1 != nil && $1 == $0.decodedOnCPU }
                    #expect(areSame, "seed \(random.seed)")
                    #expect(rig.decompressed - decompressed == isVerified.count { $0 })
                }
            }
            await FakeMachine.expectClean(fake.fake)
        }

        private func patch(_ bytes: [UInt8], _ chunk: EncodedChunk) throws {
            let descriptor = try FileDescriptor.open(scratch.file("pages"), .writeOnly)
            defer { try! descriptor.close() }
            _ = try descriptor.writeAll(toAbsoluteOffset: Int64(chunk.offset), bytes)
        }
    }
}

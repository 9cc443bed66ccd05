import CVulkan
import Glibc

/// Commands of compute shaders, and fills.
extension FakeVulkan {
    static let vkCmdBindPipeline: PFN_vkCmdBindPipeline = { buffer, _, pipeline in
        call("vkCmdBindPipeline", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands) else { return }
            commands.pipeline = fake.resolve(pipeline, FakePipeline.self, of: commands.device)
        }
    }

    static let vkCmdBindDescriptorSets: PFN_vkCmdBindDescriptorSets = { buffer, _, _, _, count, sets, _, _ in
        call("vkCmdBindDescriptorSets", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands), fake.require(count == 1, "count", "one set at a time here") else {
                return
            }
            commands.set = fake.resolve(sets?.pointee, FakeDescriptorSet.self, of: commands.device)
        }
    }

    static let vkCmdPushConstants: PFN_vkCmdPushConstants = { buffer, layout, _, offset, size, bytes in
        call("vkCmdPushConstants", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands),
                let layout = fake.resolve(layout, FakePipelineLayout.self, of: commands.device), let bytes,
                fake.require(
                    offset == 0 && size == layout.constantBytes, "VUID-vkCmdPushConstants-offset-01795",
                    "\(size) bytes at \(offset) of \(layout.constantBytes)")
            else { return }
            commands.constants = Array(UnsafeRawBufferPointer(start: bytes, count: Int(size)))
        }
    }

    static let vkCmdDispatch: PFN_vkCmdDispatch = { buffer, x, y, z in
        call("vkCmdDispatch", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands),
                fake.require(
                    fake.family(of: commands).flags & VK_QUEUE_COMPUTE_BIT.rawValue != 0,
                    "VUID-vkCmdDispatch-commandBuffer-cmdpool", "the queue does not compute"),
                let pipeline = commands.pipeline, let set = commands.set,
                fake.require(x > 0 && y > 0 && z > 0, "empty dispatch", "\(x) × \(y) × \(z)")
            else { return fake.report("dispatch", "nothing is bound") }
            let ranges = set.ranges.compactMap(\.self)
            fake.require(ranges.count == set.ranges.count, "VUID-vkCmdDispatch-None-08114", "bindings are not written")
            commands.record(.dispatch(ranges, commands.constants), using: pipeline, set)
            for range in ranges {
                commands.uses[range.buffer.handle] = range.buffer
                if let memory = range.buffer.memory { commands.uses[memory.handle] = memory }
            }
        }
    }

    static let vkCmdFillBuffer: PFN_vkCmdFillBuffer = { buffer, target, offset, size, value in
        call("vkCmdFillBuffer", buffer, FakeCommandBuffer.self, otherwise: ()) { fake, commands in
            guard fake.checkRecording(commands),
                let target = fake.resolve(target, FakeBuffer.self, of: commands.device),
                fake.require(
                    offset % 4 == 0 && size % 4 == 0 && size > 0, "VUID-vkCmdFillBuffer-dstOffset-00025",
                    "\(size) bytes at \(offset)"),
                fake.require(
                    offset < target.size && size <= target.size - offset, "VUID-vkCmdFillBuffer-size-00027",
                    "\(size) bytes at \(offset) of \(target.size)"),
                fake.require(
                    target.has(VK_BUFFER_USAGE_TRANSFER_DST_BIT), "VUID-vkCmdFillBuffer-dstBuffer-00029",
                    "\(target.name) has no TRANSFER_DST usage")
            else { return }
            commands.record(.fill(target, offset..<offset + size, value), using: target, target.memory)
        }
    }

    func perform(fill target: FakeBuffer, _ range: Range<UInt64>, _ value: UInt32, _ batch: Batch) {
        guard touch(target, [range], isWrite: true, batch, as: .fill), let memory = target.memory else { return }
        let words = (memory.deviceBytes + Int(target.offset + range.lowerBound)).bindMemory(
            to: UInt32.self, capacity: range.count / 4)
        words.update(repeating: value, count: range.count / 4)
    }

    func perform(dispatch ranges: [BoundRange], _ constants: [UInt8], _ batch: Batch) {
        guard let kernel = configuration.kernel, ranges.allSatisfy({ $0.buffer.memory?.isDestroyed == false }) else {
            return report("use after destroy", "a dispatch without its kernel, or its memory")
        }
        let accesses = kernel(ranges.map { Self.bytes(of: $0) }, constants)
        for isWrite in [false, true] {
            for (binding, bound) in ranges.enumerated() {
                let touched = accesses.filter { $0.binding == binding && $0.isWrite == isWrite && !$0.range.isEmpty }
                    .map {
                        (UInt64($0.range.lowerBound)..<UInt64($0.range.upperBound)).moved(by: bound.range.lowerBound)
                    }
                _ = touch(bound.buffer, touched.merged(), isWrite: isWrite, batch, as: .compute)
            }
        }
    }
}

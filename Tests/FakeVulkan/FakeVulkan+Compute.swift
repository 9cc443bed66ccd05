import CVulkan
import Glibc

/// What a compute shader is made of. Only what a test's kernel needs is kept.
class FakeComputeObject: FakeDeviceObject {}

final class FakeShaderModule: FakeComputeObject {
    override class var kind: FakeVulkan.Kind { .shaderModule }
}
final class FakeSetLayout: FakeComputeObject {
    override class var kind: FakeVulkan.Kind { .setLayout }
    var bindings = 0
}
final class FakePipelineLayout: FakeComputeObject {
    override class var kind: FakeVulkan.Kind { .pipelineLayout }
    var constantBytes: UInt32 = 0
}
final class FakePipeline: FakeComputeObject {
    override class var kind: FakeVulkan.Kind { .pipeline }
}
final class FakeDescriptorPool: FakeComputeObject {
    override class var kind: FakeVulkan.Kind { .descriptorPool }
    var sets: [FakeDescriptorSet] = []
}
final class FakeDescriptorSet: FakeComputeObject {
    override class var kind: FakeVulkan.Kind { .descriptorSet }
    /// By binding; nil: not written yet.
    var ranges: [FakeVulkan.BoundRange?] = []
}

extension FakeVulkan {
    /// What a test does in place of a shader, and where it has read and written. The storage buffers are given by binding,
    /// the push constants as bytes.
    package typealias Kernel =
        @Sendable (_ buffers: [UnsafeMutableRawBufferPointer], _ constants: [UInt8]) -> [KernelAccess]

    package struct KernelAccess: Sendable {
        let binding: Int
        let range: Range<Int>
        let isWrite: Bool

        /// - Parameter range: Bytes of the binding.
        package init(_ binding: Int, _ range: Range<Int>, isWrite: Bool) {
            self.binding = binding
            self.range = range
            self.isWrite = isWrite
        }
    }

    struct BoundRange {
        let buffer: FakeBuffer
        let range: Range<UInt64>
    }

    static let vkCreateShaderModule: PFN_vkCreateShaderModule = { device, info, _, result in
        make("vkCreateShaderModule", device, result) { fake, device in
            fake.checkType(
                info?.pointee.sType ?? VK_STRUCTURE_TYPE_APPLICATION_INFO,
                VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, "VkShaderModuleCreateInfo")
            return FakeShaderModule(fake, device)
        }
    }

    static let vkCreateDescriptorSetLayout: PFN_vkCreateDescriptorSetLayout = { device, info, _, result in
        make("vkCreateDescriptorSetLayout", device, result) { fake, device in
            let layout = FakeSetLayout(fake, device)
            layout.bindings = Int(info?.pointee.bindingCount ?? 0)
            return layout
        }
    }

    static let vkCreatePipelineLayout: PFN_vkCreatePipelineLayout = { device, info, _, result in
        make("vkCreatePipelineLayout", device, result) { fake, device in
            let layout = FakePipelineLayout(fake, device)
            layout.constantBytes = info?.pointee.pPushConstantRanges?.pointee.size ?? 0
            return layout
        }
    }

    static let vkCreateDescriptorPool: PFN_vkCreateDescriptorPool = { device, _, _, result in
        make("vkCreateDescriptorPool", device, result) { fake, device in FakeDescriptorPool(fake, device) }
    }

    static let vkCreateComputePipelines: PFN_vkCreateComputePipelines = { device, _, count, infos, _, result in
        make("vkCreateComputePipelines", device, result) { fake, device in
            fake.require(count == 1, "count", "pipelines are made one at a time here")
            guard let info = infos?.pointee, fake.resolve(info.layout, FakePipelineLayout.self, of: device) != nil,
                fake.resolve(info.stage.module, FakeShaderModule.self, of: device) != nil
            else { return nil }
            return FakePipeline(fake, device)
        }
    }

    static let vkAllocateDescriptorSets: PFN_vkAllocateDescriptorSets = { device, info, result in
        make("vkAllocateDescriptorSets", device, result) { fake, device in
            guard let info = info?.pointee, let pool = fake.resolve(info.descriptorPool, FakeDescriptorPool.self),
                let layout = fake.resolve(info.pSetLayouts?.pointee, FakeSetLayout.self, of: device)
            else { return nil }
            let set = FakeDescriptorSet(fake, device)
            set.ranges = Array(repeating: nil, count: layout.bindings)
            pool.sets.append(set)
            return set
        }
    }

    static let vkUpdateDescriptorSets: PFN_vkUpdateDescriptorSets = { device, count, writes, _, _ in
        call("vkUpdateDescriptorSets", device, FakeDevice.self, otherwise: ()) { fake, device in
            for write in list(writes, count) {
                guard let set = fake.resolve(write.dstSet, FakeDescriptorSet.self, of: device),
                    let info = write.pBufferInfo?.pointee,
                    let buffer = fake.resolve(info.buffer, FakeBuffer.self, of: device),
                    fake.require(set.ranges.indices.contains(Int(write.dstBinding)), "binding", "no such binding"),
                    fake.require(
                        buffer.has(VK_BUFFER_USAGE_STORAGE_BUFFER_BIT),
                        "VUID-VkWriteDescriptorSet-descriptorType-00331",
                        "\(buffer.name) has no STORAGE_BUFFER usage"),
                    fake.require(
                        info.offset + info.range <= buffer.size, "VUID-VkDescriptorBufferInfo-range-00342",
                        "\(info.range) bytes at \(info.offset) of \(buffer.size)")
                else { continue }
                set.ranges[Int(write.dstBinding)] = BoundRange(
                    buffer: buffer, range: info.offset..<info.offset + info.range)
            }
        }
    }

    // MARK: Ends

    static let vkDestroyShaderModule: PFN_vkDestroyShaderModule = { device, object, _ in
        destroy("vkDestroyShaderModule", device, object, FakeShaderModule.self)
    }
    static let vkDestroyDescriptorSetLayout: PFN_vkDestroyDescriptorSetLayout = { device, object, _ in
        destroy("vkDestroyDescriptorSetLayout", device, object, FakeSetLayout.self)
    }
    static let vkDestroyPipelineLayout: PFN_vkDestroyPipelineLayout = { device, object, _ in
        destroy("vkDestroyPipelineLayout", device, object, FakePipelineLayout.self)
    }
    static let vkDestroyPipeline: PFN_vkDestroyPipeline = { device, object, _ in
        destroy("vkDestroyPipeline", device, object, FakePipeline.self)
    }
    static let vkDestroyDescriptorPool: PFN_vkDestroyDescriptorPool = { device, object, _ in
        destroy("vkDestroyDescriptorPool", device, object, FakeDescriptorPool.self)
    }

    private static func make<Object: FakeComputeObject>(
        _ function: String, _ device: VkDevice?, _ result: UnsafeMutablePointer<OpaquePointer?>?,
        _ body: (FakeVulkan, FakeDevice) -> Object?
    ) -> VkResult {
        command(function, device, FakeDevice.self) { fake, device in
            guard let object = body(fake, device), let result else { return VK_ERROR_UNKNOWN }
            fake.born(object)
            result.pointee = object.pointer
            return VK_SUCCESS
        }
    }

    private static func destroy<Object: FakeComputeObject>(
        _ function: String, _ device: VkDevice?, _ object: OpaquePointer?, _ type: Object.Type
    ) {
        guard object != nil else { return }
        call(function, device, FakeDevice.self, alone: object, otherwise: ()) { fake, device in
            guard let object = fake.resolve(object, type, of: device), fake.die(object) else { return }
            for set in (object as? FakeDescriptorPool)?.sets ?? [] { fake.die(set) }
        }
    }
}

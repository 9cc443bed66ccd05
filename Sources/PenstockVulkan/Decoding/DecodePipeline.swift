import CShaders
import CVulkan

/// The shader that decodes pages of GDeflate (`gdeflate.comp`), as a pipeline of one device.
final class DecodePipeline: @unchecked Sendable {  // handles for any thread
    /// What the shader is bound to, in the order of its bindings.
    enum Binding: Int, CaseIterable {
        case encoded, decoded, pages, statuses
    }

    /// What the shader says of a page.
    enum Status: UInt32 {
        /// No workgroup has come to it.
        case none
        case decoded
        case malformed
        case truncated
        case sizeMismatch
        /// It has been given up: neither right nor wrong.
        case unfinished
    }

    /// The shader's push constants.
    struct Parameters {
        var pageCount: UInt32
        /// Pages that a workgroup takes one after the other, at most.
        var pagesPerGroup: UInt32
        /// How many times the loops of a page may run.
        var loopLimit: UInt32

        init(pageCount: Int, on type: VkPhysicalDeviceType) {
            self.pageCount = UInt32(pageCount)
            // Mesa's llvmpipe has all loops of a workgroup end once they have run 65535 times together. It has a thread for
            // each core, which takes one workgroup after the other, so nothing is lost.
            let isCPU = type == VK_PHYSICAL_DEVICE_TYPE_CPU
            pagesPerGroup = isCPU ? 1 : .max
            // Any other device gets through a page that asks for more than encoders do before anybody takes it for hung.
            loopLimit = isCPU ? 65_000 : 1 << 18
        }
    }

    /// A page, as the shader reads of it. In a device's memory.
    struct Page {
        /// Its first word, in words.
        var source: UInt32
        /// Its encoded bytes.
        var sourceCount: UInt32
        /// Where it is decoded to, in words.
        var destination: UInt32
        /// Its decoded bytes.
        var count: UInt32
    }

    let pipeline: VkPipeline
    let layout: VkPipelineLayout
    let setLayout: VkDescriptorSetLayout
    private let device: VkDevice
    private let functions: ComputeFunctions

    init(_ device: VkDevice, _ functions: ComputeFunctions) throws(VulkanFailure) {
        self.device = device
        self.functions = functions
        setLayout = try Self.makeSetLayout(device, functions)
        do throws(VulkanFailure) {
            layout = try Self.makeLayout(device, setLayout, functions)
        } catch {
            functions.destroyDescriptorSetLayout(device, setLayout, nil)
            throw error
        }
        do throws(VulkanFailure) {
            pipeline = try Self.makePipeline(device, layout, functions)
        } catch {
            functions.destroyPipelineLayout(device, layout, nil)
            functions.destroyDescriptorSetLayout(device, setLayout, nil)
            throw error
        }
    }

    /// No command buffer that is on the device uses it.
    func destroy() {
        functions.destroyPipeline(device, pipeline, nil)
        functions.destroyPipelineLayout(device, layout, nil)
        functions.destroyDescriptorSetLayout(device, setLayout, nil)
    }

    // MARK: Parts

    private static func makeSetLayout(
        _ device: VkDevice, _ functions: ComputeFunctions
    ) throws(VulkanFailure) -> VkDescriptorSetLayout {
        let bindings = Binding.allCases.map { binding in
            var info = VkDescriptorSetLayoutBinding()
            info.binding = UInt32(binding.rawValue)
            info.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
            info.descriptorCount = 1
            info.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT.rawValue
            return info
        }
        var layout: VkDescriptorSetLayout?
        let result = bindings.withUnsafeBufferPointer { bindings in
            var info = VkDescriptorSetLayoutCreateInfo()
            info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO
            info.bindingCount = UInt32(bindings.count)
            info.pBindings = bindings.baseAddress
            return functions.createDescriptorSetLayout(device, &info, nil, &layout)
        }
        try check(result, "vkCreateDescriptorSetLayout")
        return layout!
    }

    private static func makeLayout(
        _ device: VkDevice, _ set: VkDescriptorSetLayout, _ functions: ComputeFunctions
    ) throws(VulkanFailure) -> VkPipelineLayout {
        var constants = VkPushConstantRange()
        constants.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT.rawValue
        constants.size = UInt32(MemoryLayout<Parameters>.size)
        var set: VkDescriptorSetLayout? = set
        var layout: VkPipelineLayout?
        let result = withUnsafePointer(to: &constants) { constants in
            withUnsafePointer(to: &set) { set in
                var info = VkPipelineLayoutCreateInfo()
                info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO
                info.setLayoutCount = 1
                info.pSetLayouts = set
                info.pushConstantRangeCount = 1
                info.pPushConstantRanges = constants
                return functions.createPipelineLayout(device, &info, nil, &layout)
            }
        }
        try check(result, "vkCreatePipelineLayout")
        return layout!
    }

    private static func makePipeline(
        _ device: VkDevice, _ layout: VkPipelineLayout, _ functions: ComputeFunctions
    ) throws(VulkanFailure) -> VkPipeline {
        let shader = penstock_shader_gdeflate()
        var moduleInfo = VkShaderModuleCreateInfo()
        moduleInfo.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO
        moduleInfo.codeSize = shader.size
        moduleInfo.pCode = shader.code
        var module: VkShaderModule?
        try check(functions.createShaderModule(device, &moduleInfo, nil, &module), "vkCreateShaderModule")
        defer { functions.destroyShaderModule(device, module, nil) }
        var pipeline: VkPipeline?
        let result = "main".withCString { name in
            var info = VkComputePipelineCreateInfo()
            info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO
            info.layout = layout
            info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO
            info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT
            info.stage.module = module
            info.stage.pName = name
            return functions.createComputePipelines(device, nil, 1, &info, nil, &pipeline)
        }
        try check(result, "vkCreateComputePipelines")
        return pipeline!
    }
}

import CVulkan

/// The functions of one device that decoding on it needs, beside those that copying does.
package struct ComputeFunctions: Sendable {
    package let createShaderModule: PFN_vkCreateShaderModule
    package let destroyShaderModule: PFN_vkDestroyShaderModule
    package let createDescriptorSetLayout: PFN_vkCreateDescriptorSetLayout
    package let destroyDescriptorSetLayout: PFN_vkDestroyDescriptorSetLayout
    package let createDescriptorPool: PFN_vkCreateDescriptorPool
    package let destroyDescriptorPool: PFN_vkDestroyDescriptorPool
    package let allocateDescriptorSets: PFN_vkAllocateDescriptorSets
    package let updateDescriptorSets: PFN_vkUpdateDescriptorSets
    package let createPipelineLayout: PFN_vkCreatePipelineLayout
    package let destroyPipelineLayout: PFN_vkDestroyPipelineLayout
    package let createComputePipelines: PFN_vkCreateComputePipelines
    package let destroyPipeline: PFN_vkDestroyPipeline
    package let cmdBindPipeline: PFN_vkCmdBindPipeline
    package let cmdBindDescriptorSets: PFN_vkCmdBindDescriptorSets
    package let cmdPushConstants: PFN_vkCmdPushConstants
    package let cmdDispatch: PFN_vkCmdDispatch
    package let cmdFillBuffer: PFN_vkCmdFillBuffer

    /// Throws if one of them is missing.
    init(_ table: VulkanLookup) throws(VulkanFailure) {
        createShaderModule = try table.need("vkCreateShaderModule")
        destroyShaderModule = try table.need("vkDestroyShaderModule")
        createDescriptorSetLayout = try table.need("vkCreateDescriptorSetLayout")
        destroyDescriptorSetLayout = try table.need("vkDestroyDescriptorSetLayout")
        createDescriptorPool = try table.need("vkCreateDescriptorPool")
        destroyDescriptorPool = try table.need("vkDestroyDescriptorPool")
        allocateDescriptorSets = try table.need("vkAllocateDescriptorSets")
        updateDescriptorSets = try table.need("vkUpdateDescriptorSets")
        createPipelineLayout = try table.need("vkCreatePipelineLayout")
        destroyPipelineLayout = try table.need("vkDestroyPipelineLayout")
        createComputePipelines = try table.need("vkCreateComputePipelines")
        destroyPipeline = try table.need("vkDestroyPipeline")
        cmdBindPipeline = try table.need("vkCmdBindPipeline")
        cmdBindDescriptorSets = try table.need("vkCmdBindDescriptorSets")
        cmdPushConstants = try table.need("vkCmdPushConstants")
        cmdDispatch = try table.need("vkCmdDispatch")
        cmdFillBuffer = try table.need("vkCmdFillBuffer")
    }
}

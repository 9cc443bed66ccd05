import CVulkan

/// What a barrier orders: stages and accesses before it, and after it.
struct BarrierScope {
    var sourceStages: UInt64
    var sourceAccess: UInt64
    var destinationStages: UInt64
    var destinationAccess: UInt64
}

/// A kind of work that touches memory, and what barriers must name to order it.
struct Work {
    let name: String
    let stage: UInt64
    let reads: UInt64
    let writes: UInt64

    static let copy = Work(
        name: "a copy", stage: Stages.copy, reads: VK_ACCESS_2_TRANSFER_READ_BIT,
        writes: VK_ACCESS_2_TRANSFER_WRITE_BIT)
    static let fill = Work(
        name: "a fill", stage: Stages.clear, reads: 0, writes: VK_ACCESS_2_TRANSFER_WRITE_BIT)
    static let compute = Work(
        name: "a shader's access", stage: VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
        reads: VK_ACCESS_2_SHADER_READ_BIT | VK_ACCESS_2_SHADER_STORAGE_READ_BIT,
        writes: VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT)
    static let decompression = Work(
        name: "decompression", stage: VK_PIPELINE_STAGE_2_MEMORY_DECOMPRESSION_BIT_EXT,
        reads: VK_ACCESS_2_MEMORY_DECOMPRESSION_READ_BIT_EXT, writes: VK_ACCESS_2_MEMORY_DECOMPRESSION_WRITE_BIT_EXT)

    func isRead(_ access: UInt64) -> Bool { access & (reads | VK_ACCESS_2_MEMORY_READ_BIT) != 0 }
    func isWritten(_ access: UInt64) -> Bool { access & (writes | VK_ACCESS_2_MEMORY_WRITE_BIT) != 0 }
}

/// What the masks of synchronization2 stand for.
enum Stages {
    static let copy = VK_PIPELINE_STAGE_2_COPY_BIT
    static let clear = VK_PIPELINE_STAGE_2_CLEAR_BIT
    static let host = VK_PIPELINE_STAGE_2_HOST_BIT

    /// With what the collective stages stand for. ALL_COMMANDS is not HOST.
    static func expanded(_ stages: UInt64) -> UInt64 {
        var stages = stages
        if stages & VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT != 0 { stages |= ~host }
        if stages & VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT != 0 { stages |= copy | clear }
        return stages
    }

    /// Before a barrier, the bottom of the pipe means every command.
    static func source(_ stages: UInt64) -> UInt64 {
        stages & VK_PIPELINE_STAGE_2_BOTTOM_OF_PIPE_BIT != 0
            ? expanded(stages | VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT) : expanded(stages)
    }

    /// After a barrier, the top of the pipe means every command.
    static func destination(_ stages: UInt64) -> UInt64 {
        stages & VK_PIPELINE_STAGE_2_TOP_OF_PIPE_BIT != 0
            ? expanded(stages | VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT) : expanded(stages)
    }

    static func includesCopies(_ stages: UInt64) -> Bool { expanded(stages) & copy != 0 }

    static func hostReads(_ access: UInt64) -> Bool {
        access & (VK_ACCESS_2_HOST_READ_BIT | VK_ACCESS_2_MEMORY_READ_BIT) != 0
    }
}

extension FakeVulkan {
    /// Accesses need a stage that performs them, and stages a queue that has them.
    func checkStages(_ stages: UInt64, _ access: UInt64, _ side: String, _ family: QueueFamily) {
        let expanded = Stages.expanded(stages)
        let transfer = VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT
        let transferStages =
            Stages.copy | VK_PIPELINE_STAGE_2_BLIT_BIT | VK_PIPELINE_STAGE_2_RESOLVE_BIT | VK_PIPELINE_STAGE_2_CLEAR_BIT
        require(
            access & transfer == 0 || expanded & transferStages != 0,
            "VUID-VkMemoryBarrier2-\(side)AccessMask-03914", "transfer accesses without a transfer stage")
        require(
            access & (VK_ACCESS_2_HOST_READ_BIT | VK_ACCESS_2_HOST_WRITE_BIT) == 0 || expanded & Stages.host != 0,
            "VUID-VkMemoryBarrier2-\(side)AccessMask-03916", "host accesses without the host stage")
        let decompression = Work.decompression.reads | Work.decompression.writes
        require(
            access & decompression == 0 || expanded & Work.decompression.stage != 0,
            "VUID-VkMemoryBarrier2-\(side)AccessMask-decompression", "accesses of decompression without its stage")
        require(
            access & (Work.compute.reads | Work.compute.writes) == 0 || expanded & Work.compute.stage != 0,
            "VUID-VkMemoryBarrier2-\(side)AccessMask-07454", "shader accesses without a shader stage")
        if family.isTransferOnly {
            let allowed =
                transferStages | Stages.host | VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT
                | VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_2_TOP_OF_PIPE_BIT
                | VK_PIPELINE_STAGE_2_BOTTOM_OF_PIPE_BIT
            require(
                stages & ~allowed == 0, "VUID-vkCmdPipelineBarrier2-\(side)StageMask-03849",
                "stages \(String(stages, radix: 16)) on a queue that is for transfers only")
        }
    }
}

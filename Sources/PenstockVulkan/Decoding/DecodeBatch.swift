import CVulkan
import Penstock

/// Pages that wait for the next submission, in a ``DecodeSlot``: copied in, decoded by one dispatch, copied out.
struct DecodeBatch {
    let slot: DecodeSlot
    private var copiesIn = CopyBatch()
    private var copiesOut = CopyBatch()
    /// So far.
    private(set) var pageCount = 0
    private var encodedBytes = 0
    /// Of the destination's.
    private(set) var decodedBytes = 0
    private var destinationWords = 0

    init(_ slot: DecodeSlot) { self.slot = slot }

    /// Whether so many pages of so many encoded bytes still find room.
    func hasRoom(pages: Int, encodedBytes count: Int) -> Bool {
        // Each page starts at a word.
        pages <= slot.capacity.pages - pageCount && count + 3 * pages <= slot.capacity.encodedBytes - encodedBytes
    }

    /// Adds a page, for which there is room.
    ///
    /// - Parameters:
    ///   - source: The buffer of the encoded bytes, which start at `offset` in it.
    ///   - target: The buffer to decode into, at `targetOffset`.
    mutating func add(
        from source: VkBuffer, _ offset: UInt64, encodedBytes count: Int, to target: VkBuffer, _ targetOffset: UInt64,
        decodedBytes decoded: Int
    ) {
        precondition(hasRoom(pages: 1, encodedBytes: count) && (0...SinkDecoding.pageSize).contains(decoded))
        let page = DecodePipeline.Page(
            source: UInt32(encodedBytes / 4), sourceCount: UInt32(count), destination: UInt32(destinationWords),
            count: UInt32(decoded))
        let stride = MemoryLayout<DecodePipeline.Page>.stride
        slot.control.mapped.storeBytes(of: page, toByteOffset: pageCount * stride, as: DecodePipeline.Page.self)
        if count > 0 {
            copiesIn.add(
                from: source, offset, to: slot.buffer, UInt64(DecodeSlot.encodedStart + encodedBytes), count)
        }
        if decoded > 0 {
            copiesOut.add(
                from: slot.buffer, UInt64(slot.decodedStart + 4 * destinationWords), to: target, targetOffset,
                decoded)
        }
        pageCount += 1
        encodedBytes += (count + 3) / 4 * 4
        decodedBytes += decoded
        destinationWords += (decoded + 3) / 4
    }

    /// Records the copies, the dispatch, and the statuses' way back to the host, whose reads of them a barrier of the
    /// caller's has to order behind it. Ends the batch.
    mutating func record(
        into buffer: VkCommandBuffer, _ pipeline: DecodePipeline, _ functions: DeviceFunctions,
        _ compute: ComputeFunctions
    ) {
        // What used the slot's memory before is done, which the host has seen; and the copies' barrier was for copies.
        BarrierScopes.beforeDecoding.record(into: buffer, functions)
        let stride = MemoryLayout<DecodePipeline.Page>.stride
        let source = slot.control.buffer
        copiesIn.add(from: source, 0, to: slot.buffer, UInt64(slot.pagesStart), pageCount * stride)
        copiesIn.record(into: buffer, functions)
        // The shader's atomics set bits in zeros.
        if destinationWords > 0 {
            compute.cmdFillBuffer(
                buffer, slot.buffer, UInt64(slot.decodedStart), UInt64(4 * destinationWords), 0)
        }
        compute.cmdFillBuffer(buffer, slot.buffer, UInt64(slot.statusesStart), UInt64(4 * (1 + pageCount)), 0)
        BarrierScopes.toShader.record(into: buffer, functions)

        var set: VkDescriptorSet? = slot.set
        var parameters = DecodePipeline.Parameters(pageCount: pageCount, on: slot.device.physical.type)
        compute.cmdBindPipeline(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline)
        compute.cmdBindDescriptorSets(
            buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1, &set, 0, nil)
        compute.cmdPushConstants(
            buffer, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT.rawValue, 0,
            UInt32(MemoryLayout<DecodePipeline.Parameters>.size), &parameters)
        // Workgroups take pages until there are none left. More of them than run at once would find none; but nobody
        // says how many run at once.
        compute.cmdDispatch(buffer, UInt32(pageCount), 1, 1)

        BarrierScopes.fromShader.record(into: buffer, functions)
        copiesOut.add(
            from: slot.buffer, UInt64(slot.statusesStart + 4), to: slot.control.buffer,
            UInt64(slot.statusesInControl), 4 * pageCount)
        copiesOut.record(into: buffer, functions)
    }
}

extension BarrierScopes {
    private static let transfer = VK_PIPELINE_STAGE_2_COPY_BIT | VK_PIPELINE_STAGE_2_CLEAR_BIT
    private static let storage = VK_ACCESS_2_SHADER_STORAGE_READ_BIT | VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT

    /// What came before on the queue, then copies and fills.
    static let beforeDecoding = BarrierScopes(
        sourceStage: VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, sourceAccess: VK_ACCESS_2_MEMORY_WRITE_BIT,
        stage: transfer, access: VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT)
    /// Copies and fills, then the shader.
    static let toShader = BarrierScopes(
        sourceStage: transfer, sourceAccess: VK_ACCESS_2_TRANSFER_WRITE_BIT,
        stage: VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, access: storage)
    /// The shader, then copies.
    static let fromShader = BarrierScopes(
        sourceStage: VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, sourceAccess: VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT,
        stage: VK_PIPELINE_STAGE_2_COPY_BIT, access: VK_ACCESS_2_TRANSFER_READ_BIT)

    /// A memory barrier of these scopes.
    func record(into buffer: VkCommandBuffer, _ functions: DeviceFunctions) {
        var batch = BarrierBatch()
        batch.record(into: buffer, self, functions)
    }
}

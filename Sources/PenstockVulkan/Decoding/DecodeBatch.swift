import CVulkan
import Penstock

/// Pages that wait for the next submission, in a ``DecodeSlot``: copied in, decoded by one dispatch, those that are known to
/// be sound by one command of the driver's where there is such a thing, and copied out.
struct DecodeBatch {
    let slot: DecodeSlot
    private var copiesIn = CopyBatch()
    private var copiesOut = CopyBatch()
    /// Pages for the shader, so far. Each has a status, in this order.
    private(set) var shaderPageCount = 0
    /// Pages for the driver.
    private var regions: [MemoryDecompression.Region] = []
    private var encodedBytes = 0
    /// Of the destination's.
    private(set) var decodedBytes = 0
    private var destinationWords = 0

    init(_ slot: DecodeSlot) { self.slot = slot }

    var pageCount: Int { shaderPageCount + regions.count }

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
    ///   - isVerified: The page is known to be sound.
    mutating func add(
        from source: VkBuffer, _ offset: UInt64, encodedBytes count: Int, to target: VkBuffer, _ targetOffset: UInt64,
        decodedBytes decoded: Int, isVerified: Bool = false
    ) {
        precondition(hasRoom(pages: 1, encodedBytes: count) && (0...SinkDecoding.pageSize).contains(decoded))
        let start = slot.decodedStart + 4 * destinationWords
        // What cannot be sound is for the shader to refuse.
        if isVerified, slot.address != 0, decoded > 0, count > 0, count % 4 == 0 {
            regions.append(
                MemoryDecompression.region(
                    from: slot.address + UInt64(DecodeSlot.encodedStart + encodedBytes), encodedBytes: count,
                    to: slot.address + UInt64(start)))
            destinationWords += SinkDecoding.pageSize / 4
        } else {
            let page = DecodePipeline.Page(
                source: UInt32(encodedBytes / 4), sourceCount: UInt32(count), destination: UInt32(destinationWords),
                count: UInt32(decoded))
            let stride = MemoryLayout<DecodePipeline.Page>.stride
            slot.control.mapped.storeBytes(
                of: page, toByteOffset: shaderPageCount * stride, as: DecodePipeline.Page.self)
            shaderPageCount += 1
            destinationWords += (decoded + 3) / 4
        }
        if count > 0 {
            copiesIn.add(
                from: source, offset, to: slot.buffer, UInt64(DecodeSlot.encodedStart + encodedBytes), count)
        }
        if decoded > 0 {
            copiesOut.add(from: slot.buffer, UInt64(start), to: target, targetOffset, decoded)
        }
        encodedBytes += (count + 3) / 4 * 4
        decodedBytes += decoded
    }

    /// Records the copies, the dispatch, and the statuses' way back to the host, whose reads of them a barrier of the
    /// caller's has to order behind it. Ends the batch.
    mutating func record(
        into buffer: VkCommandBuffer, _ pipeline: DecodePipeline, _ functions: DeviceFunctions,
        _ compute: ComputeFunctions
    ) {
        // What used the slot's memory before is done, which the host has seen; and the copies' barrier was for copies.
        BarrierScopes.beforeDecoding.record(into: buffer, functions)
        if shaderPageCount > 0 {
            let stride = MemoryLayout<DecodePipeline.Page>.stride
            copiesIn.add(
                from: slot.control.buffer, 0, to: slot.buffer, UInt64(slot.pagesStart), shaderPageCount * stride)
            compute.cmdFillBuffer(
                buffer, slot.buffer, UInt64(slot.statusesStart), UInt64(4 * (1 + shaderPageCount)), 0)
        }
        copiesIn.record(into: buffer, functions)
        // The shader's atomics set bits in zeros; and a page that holds less than was said leaves nobody else's bytes.
        if destinationWords > 0 {
            compute.cmdFillBuffer(
                buffer, slot.buffer, UInt64(slot.decodedStart), UInt64(4 * destinationWords), 0)
        }
        let decompression = regions.isEmpty ? nil : slot.device.decompression
        BarrierScopes.toDecoders(decompression).record(into: buffer, functions)
        if shaderPageCount > 0 { dispatch(into: buffer, pipeline, compute) }
        decompression?.record(regions, into: buffer)
        BarrierScopes.fromDecoders(decompression).record(into: buffer, functions)
        if shaderPageCount > 0 {
            copiesOut.add(
                from: slot.buffer, UInt64(slot.statusesStart + 4), to: slot.control.buffer,
                UInt64(slot.statusesInControl), 4 * shaderPageCount)
        }
        copiesOut.record(into: buffer, functions)
    }

    private func dispatch(into buffer: VkCommandBuffer, _ pipeline: DecodePipeline, _ compute: ComputeFunctions) {
        var set: VkDescriptorSet? = slot.set
        var parameters = DecodePipeline.Parameters(pageCount: shaderPageCount, on: slot.device.physical.type)
        compute.cmdBindPipeline(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline)
        compute.cmdBindDescriptorSets(
            buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1, &set, 0, nil)
        compute.cmdPushConstants(
            buffer, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT.rawValue, 0,
            UInt32(MemoryLayout<DecodePipeline.Parameters>.size), &parameters)
        // Workgroups take pages until there are none left. More of them than run at once would find none; but nobody
        // says how many run at once.
        compute.cmdDispatch(buffer, UInt32(shaderPageCount), 1, 1)
    }
}

extension BarrierScopes {
    private static let transfer = VK_PIPELINE_STAGE_2_COPY_BIT | VK_PIPELINE_STAGE_2_CLEAR_BIT
    private static let storage = VK_ACCESS_2_SHADER_STORAGE_READ_BIT | VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT

    /// What came before on the queue, then copies and fills.
    static let beforeDecoding = BarrierScopes(
        sourceStage: VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, sourceAccess: VK_ACCESS_2_MEMORY_WRITE_BIT,
        stage: transfer, access: VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT)
    /// Copies and fills, then the shader, and the driver's decoder if it has anything to do.
    static func toDecoders(_ decompression: MemoryDecompression?) -> BarrierScopes {
        BarrierScopes(
            sourceStage: transfer, sourceAccess: VK_ACCESS_2_TRANSFER_WRITE_BIT,
            stage: VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | (decompression?.stage ?? 0),
            access: storage | (decompression?.reads ?? 0) | (decompression?.writes ?? 0))
    }
    /// The shader and the driver's decoder, then copies.
    static func fromDecoders(_ decompression: MemoryDecompression?) -> BarrierScopes {
        BarrierScopes(
            sourceStage: VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | (decompression?.stage ?? 0),
            sourceAccess: VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT | (decompression?.writes ?? 0),
            stage: VK_PIPELINE_STAGE_2_COPY_BIT, access: VK_ACCESS_2_TRANSFER_READ_BIT)
    }

    /// A memory barrier of these scopes.
    func record(into buffer: VkCommandBuffer, _ functions: DeviceFunctions) {
        var batch = BarrierBatch()
        batch.record(into: buffer, self, functions)
    }
}

import CVulkan
import Penstock

/// Pages that the device decodes: gathered in a slot until the next submission, and their statuses read behind it.
extension GPUSink {
    /// Submissions that decode at once, at most: one is filled while the device works on the other.
    static let decodeSlotCount = enoughSubmissions

    enum Room {
        case there
        /// When a submission has ended.
        case later
        case never(StorageError.Code.Kind)
    }

    static func decoding(of copy: SinkCopy) -> SinkDecoding? {
        copy.target.options?._withUnsafeGuaranteedRef { $0.decoding }
    }

    /// Whether the piece's pages find room in the slot that is filled, which is taken if there is none.
    func findRoom(for work: SinkWork, _ copy: SinkCopy, _ decoding: SinkDecoding) -> Room {
        guard work.intoDevice, device.canDecode(decoding.format) else { return .never(.notSupported) }
        // A request's work stays in its order, so that what it signals comes last.
        guard waitingForSlot.isEmpty else { return .later }
        guard work.block != nil else { return .there }
        let pages = decoding.pages(from: copy.start, count: copy.count)
        guard !pages.isEmpty else { return .there }
        if decodes == nil {
            switch takeSlot() {
            case .success(let slot): decodes = slot.map { DecodeBatch($0) }
            case .failure(let error): return .never(error.code.kind)
            }
        }
        let encodedBytes = pages.reduce(0) { $0 + $1.count }
        return decodes?.hasRoom(pages: pages.count, encodedBytes: encodedBytes) == true ? .there : .later
    }

    /// A slot; nil: all are in use.
    private func takeSlot() -> Result<DecodeSlot?, StorageError> {
        if let slot = freeDecodeSlots.popLast() { return .success(slot) }
        guard decodeSlots.count < Self.decodeSlotCount, let compute = device.functions.compute,
            let pipeline = device.decodePipeline
        else { return .success(nil) }
        do throws(StorageError) {
            let slot = try DecodeSlot(device, pipeline, compute, DecodeSlot.Capacity(device.physical))
            decodeSlots.append(slot)
            return .success(slot)
        } catch {
            // One is enough to go on with, if slowly.
            return decodeSlots.isEmpty ? .failure(error) : .success(nil)
        }
    }

    /// Adds the piece's pages, for which there is room.
    func decode(_ copy: SinkCopy, _ decoding: SinkDecoding, _ slab: StagingSlabs.Slab, _ item: inout InFlight) {
        let pages = decoding.pages(from: copy.start, count: copy.count)
        guard !pages.isEmpty, let first = decodes?.shaderPageCount else { return }
        let staged = slab.offset + UInt64(copy.memory - slab.base)
        let target = OpaquePointer(bitPattern: UInt(copy.target.handle))!
        for page in pages {
            decodes?.add(
                from: slab.buffer, staged + UInt64(page.start - copy.start), encodedBytes: page.count,
                to: target, copy.target.offset + UInt64(page.destination), decodedBytes: page.decodedCount,
                isVerified: decoding.isVerified)
        }
        // Of the others nothing will be heard.
        item.pages = first..<(decodes?.shaderPageCount ?? first)
    }

    func releaseWaitingForSlot() {
        let waiting = waitingForSlot
        waitingForSlot.removeAll(keepingCapacity: true)
        for item in waiting {
            withUnsafePointer(to: item.copy) { add(item.work, UnsafeBufferPointer(start: $0, count: 1)) }
        }
    }

    func recordDecodes(into buffer: VkCommandBuffer) {
        // There are no pages if what the slot was taken for could not begin.
        guard let pageCount = decodes?.pageCount, pageCount > 0, let pipeline = device.decodePipeline,
            let compute = device.functions.compute
        else { return }
        decodes?.slot.hostDidWrite()
        decodes?.record(into: buffer, pipeline, device.functions, compute)
    }

    /// How the item's part of a submission that is done has gone.
    func result(of item: InFlight, _ slot: DecodeSlot?) -> SinkResult {
        guard let slot, !item.pages.isEmpty else { return SinkResult(token: item.token) }
        for page in item.pages {
            switch slot.status(of: page) {
            case .decoded: continue
            case .none: return SinkResult(token: item.token, failure: .device)
            // Whoever asked can still decode it otherwise.
            case .unfinished: return SinkResult(token: item.token, failure: .unavailable)
            case .malformed, .truncated, .sizeMismatch:
                return SinkResult(token: item.token, failure: .malformedData)
            }
        }
        return SinkResult(token: item.token)
    }
}

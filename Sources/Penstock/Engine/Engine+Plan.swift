import CLinux
import Glibc
import Logging

/// How a piece travels: through the page cache, around it, or around it by way of a bounce block.
extension Engine {
    /// The request's next piece; nil while there is no staging memory for it.
    func plan(
        _ record: UnsafeMutablePointer<RequestRecord>, piece: UnsafeMutablePointer<PieceTable.Slot>
    ) -> PiecePlan? {
        guard record.pointee.sink < 0 else { return planStaged(record, piece: piece) }
        piece.pointee.memory = record.pointee.address + record.pointee.issued
        let position = record.pointee.offset + UInt64(record.pointee.issued)
        let remaining = record.pointee.length - record.pointee.issued
        let limit = configuration.pieceSize
        let address = UInt(bitPattern: piece.pointee.memory)
        let alignment = record.pointee.file!._withUnsafeGuaranteedRef { directAlignment(of: $0, for: record) }
        guard let alignment else { return .buffered(at: position, remaining: remaining, limit: limit) }
        var plan: PiecePlan
        switch record.pointee.direction {
        case .write:
            plan = .directWrite(at: position, remaining: remaining, limit: limit, alignment: alignment)
        case .read:
            plan = .directRead(
                at: position, address: address, remaining: remaining, limit: limit, alignment: alignment,
                bounce: BounceStore.blockSize)
            if case .bounced = plan.route {
                if let block = bounce.take() {
                    piece.pointee.bounceBlock = block
                } else {
                    plan = .buffered(at: position, remaining: plan.count, limit: plan.count)
                }
            }
        }
        if plan.route != .buffered { record.pointee.usedDirect = true }
        return plan
    }

    /// The file's alignment if this record's pieces shall go around the page cache.
    func directAlignment(
        of file: StorageFile, for record: UnsafeMutablePointer<RequestRecord>
    ) -> DirectAlignment? {
        guard !record.pointee.mustBuffer, let alignment = file.alignment, alignment.offset <= BounceStore.blockSize,
            // A whole block at its end must still have an offset.
            record.pointee.offset + UInt64(record.pointee.length) <= UInt64(Int64.max) - UInt64(alignment.offset)
        else { return nil }
        switch file.caching {
        case .buffered, .uncached: return nil
        case .direct:
            guard record.pointee.direction == .read || mayWriteDirectly(record, alignment, file) else { return nil }
        case .automatic:
            guard record.pointee.direction == .read, record.pointee.length >= Self.bulkSize else { return nil }
            if record.pointee.issued == 0, !record.pointee.isCold {
                record.pointee.isCold = !driver.isCached(file.descriptor, at: record.pointee.offset)
            }
            guard record.pointee.isCold else { return nil }
        }
        return openDirectly(file) ? alignment : nil
    }

    /// A write goes around the page cache as a whole or not at all, and once one has not, neither do the file's later ones:
    /// a direct write beside a dirty page of the same folio cannot drop that page, and the next `fsync` reports EIO.
    private func mayWriteDirectly(
        _ record: UnsafeMutablePointer<RequestRecord>, _ alignment: DirectAlignment, _ file: StorageFile
    ) -> Bool {
        let isAligned = alignment.holds(
            offset: record.pointee.offset, address: UInt(bitPattern: record.pointee.address),
            length: record.pointee.length)
        if !isAligned { file.onRing.writesThroughCache = true }
        return !file.onRing.writesThroughCache
    }

    /// Makes sure that the file has a descriptor for direct I/O. False, for good, when the file system refuses.
    private func openDirectly(_ file: StorageFile) -> Bool {
        guard !file.onRing.refusesDirect else { return false }
        if file.onRing.directDescriptor != StorageFile.OnRing.noDescriptor { return true }
        guard !devicesWithoutDirect.contains(file.device) else { return false }
        let descriptor = driver.openDirectly(file.descriptor, flags: Int32(file.access.openFlags) & 0o3)
        guard descriptor >= 0 || descriptor <= DriverOperation.firstSimulatedDescriptor else {
            demote(file, errno: -descriptor, wholeDevice: false)
            return false
        }
        file.onRing.directDescriptor = descriptor
        return true
    }

    /// Direct I/O failed where it should have worked: this file, and its device if a read failed, goes buffered.
    func demote(_ file: StorageFile, errno: Int32, wholeDevice: Bool) {
        logger?.notice(
            "direct I/O refused; using the page cache",
            metadata: ["path": "\(file.path)", "errno": "\(errno)"])
        if wholeDevice { devicesWithoutDirect.insert(file.device) }
        // Its descriptor may have other pieces in flight and stays open until the file goes; only its use ends.
        file.onRing.refusesDirect = true
    }

    // MARK: The driver's view

    func operation(for slot: Int) -> DriverOperation {
        let piece = pieces[slot]
        let record = piece.pointee.submission!._withUnsafeGuaranteedRef { $0.records + Int(piece.pointee.record) }
        let plan = piece.pointee.plan
        return record.pointee.file!._withUnsafeGuaranteedRef { file in
            var operation = DriverOperation(record.pointee.direction == .read ? .read : .write)
            operation.offset = plan.offset + UInt64(piece.pointee.progress)
            operation.length = UInt32(plan.length - piece.pointee.progress)
            switch plan.route {
            case .buffered:
                operation.descriptor = file.descriptor
                operation.address = piece.pointee.memory + piece.pointee.progress
                operation.fixedFile = attached(&file.onRing.fixedFile, file.descriptor)
                operation.runsLong = plan.length > Self.largestInlinePiece
                operation.uncached = file.caching == .uncached && !file.onRing.refusesUncached
                piece.pointee.wasUncached = operation.uncached
            case .direct, .landed:
                operation.descriptor = file.onRing.directDescriptor
                operation.address = piece.pointee.memory + piece.pointee.progress
                operation.fixedFile = attached(&file.onRing.directFixedFile, file.onRing.directDescriptor)
                operation.fixedBuffer = fixedBuffer(record.pointee.slab, operation.address!)
            case .bounced:
                operation.descriptor = file.onRing.directDescriptor
                operation.address = bounce.address(of: piece.pointee.bounceBlock) + piece.pointee.progress
                operation.fixedFile = attached(&file.onRing.directFixedFile, file.onRing.directDescriptor)
            }
            return operation
        }
    }

    private func attached(_ fixedFile: inout Int32, _ descriptor: Int32) -> Int32 {
        if fixedFile == -1 {
            fixedFile = driver.attach(descriptor)
            if fixedFile < 0 { fixedFile = -2 }
        }
        return fixedFile
    }

    /// The fixed buffer of an arena slab. A slab's number is never used again, so a registration cannot go stale.
    private func fixedBuffer(_ slab: Int32, _ address: UnsafeMutableRawPointer) -> Int32 {
        guard slab >= 0 else { return -1 }
        while fixedBuffers.count <= Int(slab) { fixedBuffers.append(-1) }
        if fixedBuffers[Int(slab)] == -1 {
            for gone in arena.takeUnmappedSlabs() where gone < fixedBuffers.count && fixedBuffers[gone] >= 0 {
                driver.unregister(fixedBuffers[gone])
                fixedBuffers[gone] = -2
            }
            let mask = UInt(SlabArena.slabSize - 1)
            let base = UnsafeMutableRawPointer(bitPattern: UInt(bitPattern: address) & ~mask)!
            let number = driver.register(base, count: SlabArena.slabSize)
            fixedBuffers[Int(slab)] = number < 0 ? -2 : number
        }
        return max(fixedBuffers[Int(slab)], -1)
    }
}

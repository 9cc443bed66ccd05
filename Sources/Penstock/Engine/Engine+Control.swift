import CLinux

/// Operations beside the data path: opening, closing, sizes, barriers.
extension Engine {
    /// Starts an operation and calls back with its result, on the ring thread. Waits for a slot if it must.
    func control(_ operation: DriverOperation, _ done: @escaping (Int32) -> Void) {
        assertOnRing()
        guard controls.count < Self.controlSlots else { return waitingControls.append((operation, done)) }
        let slot = pieces.take(.control)
        controls[slot] = done
        driver.start(operation, token: pieces.token(of: slot))
    }

    var canStartControl: Bool { !waitingControls.isEmpty && controls.count < Self.controlSlots }

    /// Calls back when everything sent before has ended; what is sent afterwards waits for that.
    func barrier(_ done: @escaping () -> Void) {
        assertOnRing()
        let id = scheduler.addBarrier()
        barriers[id] = done
        for reached in scheduler.takeReachedBarriers() { barriers.removeValue(forKey: reached)?() }
    }

    // MARK: Closing files

    func close(_ closing: FileClosing) {
        assertOnRing()
        closing.file.onRing.closing.append(closing)
        if closing.file.onRing.pending == 0 { finishClosing(closing.file) }
    }

    /// Nothing of the file is in flight: its descriptors go back.
    func finishClosing(_ file: StorageFile) {
        let waiting = file.onRing.closing
        file.onRing.closing = []
        guard file.onRing.descriptorIsOpen else { return waiting.forEach { $0.done(0) } }
        detach(file.onRing)
        dropCache(file.descriptor, file.onRing)
        closeDirect(file.onRing)
        file.onRing.directDescriptor = StorageFile.OnRing.noDescriptor
        file.onRing.refusesDirect = true
        file.onRing.fixedFile = -2
        file.onRing.directFixedFile = -2
        if driver.usesKernelDescriptors {
            // A reader on another thread may be about to use the number: it stays taken, and answers EBADF, until the
            // last reference has gone. The file itself is closed now.
            let result = linux_make_inert(file.descriptor, inertDescriptor)
            waiting.forEach { $0.done(result) }
        } else {
            file.onRing.descriptorIsOpen = false
            let result = driver.closeNow(file.descriptor)
            waiting.forEach { $0.done(result) }
        }
    }

    func retire(_ file: FileRetirement) {
        assertOnRing()
        detach(file.onRing)
        dropCache(file.descriptor, file.onRing)
        closeDirect(file.onRing)
        if file.onRing.descriptorIsOpen { driver.closeNow(file.descriptor) }
    }

    /// The next rung below `RWF_DONTCACHE`: advice to drop what an uncached file has left in the page cache.
    private func dropCache(_ descriptor: Int32, _ onRing: StorageFile.OnRing) {
        if onRing.refusesUncached, driver.usesKernelDescriptors { _ = linux_drop_cache(descriptor, 0, 0) }
    }

    private func closeDirect(_ onRing: StorageFile.OnRing) {
        if onRing.directDescriptor != StorageFile.OnRing.noDescriptor { driver.closeNow(onRing.directDescriptor) }
    }

    private func detach(_ onRing: StorageFile.OnRing) {
        if onRing.fixedFile >= 0 { driver.detach(onRing.fixedFile) }
        if onRing.directFixedFile >= 0 { driver.detach(onRing.directFixedFile) }
    }
}

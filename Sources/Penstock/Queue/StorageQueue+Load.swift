import CLinux
import Glibc
public import SystemPackage

extension StorageQueue {
    /// Reads a whole file into a fresh buffer: open, size, read and close as one request with one suspension, or two if the
    /// file has more than 2 MiB.
    ///
    /// A file of at most ``Configuration/inlineLimit`` bytes whose path and pages are cached is finished on the caller's own
    /// thread. Files whose size lies, such as those of `/proc`, are read to their end.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - priority: How soon it matters; nil: the task's priority.
    /// - Throws: ``StorageError``; ``StorageError/Code/memoryLimit`` when the file exceeds
    ///   ``Configuration/hostMemoryLimit``.
    public nonisolated func load(
        _ path: FilePath, priority: StoragePriority? = nil
    ) async throws(StorageError) -> HostBuffer {
        try core.checkOpen(.load, path)
        guard !Task.isCancelled else { throw StorageError(.cancelled, .load, path: path) }
        let priority = priority ?? StoragePriority(Task.currentPriority)
        if let (buffer, shouldYield) = try core.loadInline(path, priority) {
            if shouldYield { await Task.yield() }
            return buffer
        }
        return try await core.loadOnRing(path, priority)
    }

    /// Reads a whole file, telling how far it has come after each few megabytes.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - priority: How soon it matters; nil: the task's priority.
    ///   - progress: Called by the loading task with the bytes read and the file's size.
    public nonisolated func load(
        _ path: FilePath, priority: StoragePriority? = nil, progress: (_ done: UInt64, _ total: UInt64) -> Void
    ) async throws(StorageError) -> HostBuffer {
        let file = try await open(path)
        let size = try await file.size()
        guard let count = Int(exactly: size), core.arena.canEverHold(count) else {
            throw StorageError(.memoryLimit, .load, path: path, length: Int(clamping: size))
        }
        // Without a size there is no progress to tell of.
        guard count > 0 else { return try await load(path, priority: priority) }
        let buffer = try await core.allocate(count, operation: .load, path: path)
        let step = max(8 << 20, configuration.bytesInFlight)
        var done = 0
        while done < count {
            let wanted = min(step, count - done)
            let read = try await read(
                from: file, at: UInt64(done), into: buffer[done..<done + wanted], priority: priority)
            done += read
            progress(UInt64(done), size)
            if read < wanted { break }
        }
        return buffer.prefix(done)
    }

    /// Reads many whole files, as many at a time as keep the disk busy, each with its own result.
    ///
    /// - Returns: A result for each path, in the order given.
    public nonisolated func load(
        _ paths: [FilePath], priority: StoragePriority? = nil
    ) async -> [Result<HostBuffer, StorageError>] {
        await withTaskGroup(of: (Int, Result<HostBuffer, StorageError>).self) { group in
            var results = [Result<HostBuffer, StorageError>?](repeating: nil, count: paths.count)
            var next = 0
            func add() {
                guard next < paths.count else { return }
                let index = next
                next += 1
                group.addTask {
                    do throws(StorageError) {
                        return (index, .success(try await self.load(paths[index], priority: priority)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            for _ in 0..<Self.loadsAtOnce { add() }
            for await (index, result) in group {
                results[index] = result
                add()
            }
            return results.map { $0! }  // every index was added once
        }
    }

    /// Enough to hide the latency of opening cold files; their bytes have their own limit.
    private static let loadsAtOnce = 32
}

extension QueueCore {
    /// The file, if its path and all of its pages are cached; nil if the ring must do it.
    func loadInline(
        _ path: FilePath, _ priority: StoragePriority
    ) throws(StorageError) -> (buffer: HostBuffer, shouldYield: Bool)? {
        guard inlineLimit > 0 else { return nil }
        let recording = inlineRecorder.begin(priority)
        let flags = StorageFile.Access.readOnly.openFlags
        let descriptor = path.withPlatformString {
            linux_openat2($0, flags, 0, UInt64(LINUX_RESOLVE_CACHED))
        }
        guard descriptor >= 0 else {
            // Whatever is not simply "not cached" is the same on the ring; only the errors that are certain end here.
            if descriptor == -ENOENT || descriptor == -EACCES {
                throw StorageError(errno: -descriptor, .load, path: path)
            }
            return nil
        }
        defer { _ = linux_close(descriptor) }
        var status = linux_file_status()
        guard linux_size_and_mode(descriptor, &status) == 0 else { return nil }
        if let error = status.typeError(path, .load) { throw error }
        let size = Int(clamping: status.size)
        guard size > 0, size <= inlineLimit, let block = arena.take(size) else { return nil }
        let buffer = HostBuffer(block: block, count: size, arena: arena)
        var count = 0
        while count < size {
            let result = linux_preadv2(
                descriptor, block.address + count, size - count, Int64(count), Int32(LINUX_RWF_NOWAIT))
            // Not all cached, or truncated meanwhile: the ring starts over.
            guard result > 0 else { return nil }
            count += result
        }
        return (buffer, inlineRecorder.end(recording, bytes: size))
    }

    func loadOnRing(_ path: FilePath, _ priority: StoragePriority) async throws(StorageError) -> HostBuffer {
        let box = LoadBox()
        let executor = executor
        let result = await withTaskCancellationHandler {
            await Answer.wait { answer in
                box.begin(LoadOperation(path, priority: priority, core: self) { answer.give($0) }, on: executor)
            }
        } onCancel: {
            box.cancel(on: executor)
        }
        switch try result.get() {
        case .whole(let buffer): return buffer
        case .large(let file, let size): return try await loadLarge(file, size, priority)
        }
    }

    /// Reads a whole file of about so many bytes into memory that the calling task waits for, maps and touches itself.
    private func loadLarge(
        _ file: StorageFile, _ size: Int, _ priority: StoragePriority
    ) async throws(StorageError) -> HostBuffer {
        var size = size
        while true {
            let block = try await take(size, from: arena, .load, path: file.path)
            let buffer = HostBuffer(block: block, count: block.capacity, arena: arena)
            // One byte more than the size, if the block has room for it, tells at once that the file ends there.
            var (count, end) = (0, min(size + 1, block.capacity))
            while count < end {
                count += try await loadPart(of: file, at: count, buffer[count..<end], priority)
                // Fewer than asked only at the end of the file.
                if count < end { return buffer.prefix(count) }
                end = block.capacity
            }
            if try await !goesOn(file, at: count, priority) { return buffer }
            // From the start: a task that holds memory while it waits for more may wait for ever.
            let most = arena.limit / SlabArena.slabSize * SlabArena.slabSize
            size = max(count + 1, min(2 * count, most))
        }
    }

    /// Whether a file has bytes behind a full block: only then is it worth a larger one.
    private func goesOn(
        _ file: StorageFile, at offset: Int, _ priority: StoragePriority
    ) async throws(StorageError) -> Bool {
        let size = LoadOperation.probe
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: size)
        defer { memory.deallocate() }
        let buffer = HostBuffer(borrowing: memory, count: size)
        return try await loadPart(of: file, at: offset, buffer[...], priority) > 0
    }

    /// A part of a load. See ``StorageQueue/read(from:at:into:priority:deadline:tag:label:)-(_,_,HostBuffer.Slice,_,_,_,_)``.
    private func loadPart(
        of file: StorageFile, at offset: Int, _ slice: HostBuffer.Slice, _ priority: StoragePriority
    ) async throws(StorageError) -> Int {
        do throws(StorageError) {
            let transfer = try Transfer(.read, file, UInt64(offset), slice, core: self)
            let inline = try readInline(transfer, priority)
            guard !inline.isComplete else {
                if inline.shouldYield { await Task.yield() }
                return inline.count
            }
            return try await perform(.read, transfer, after: inline, RequestOptions(priority, 0, nil, nil))
        } catch {
            throw error.during(.load)
        }
    }
}

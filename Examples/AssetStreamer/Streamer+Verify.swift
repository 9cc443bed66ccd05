import Penstock
import SystemPackage

/// How one file fared.
enum Outcome: Sendable {
    /// Streamed, and equal to what a plain read found.
    case verified(bytes: Int)
    /// Streamed; nobody asked for more.
    case streamed(bytes: Int)
    /// It was written to while it was read, twice, so that there is nothing to compare.
    case changed(FilePath)
    /// Neither the queue nor a plain read can read it.
    case unreadable(FilePath, String)
    /// The queue delivered other bytes than the file holds, or failed where a plain read does not. Never to be seen.
    case wrong(FilePath, String)
    /// Ctrl-C came first.
    case stopped
}

extension Streamer {
    /// Streams a file and verifies it; once more if it has changed meanwhile.
    func outcome(of asset: Asset) async -> Outcome {
        defer { progress.addFile() }
        let outcome = await attempt(asset)
        guard case .changed = outcome, let asset = Asset(asset.path) else { return outcome }
        return await attempt(asset)
    }

    private func attempt(_ asset: Asset) async -> Outcome {
        do throws(StorageError) {
            let streamed = try await checksum(of: asset)
            return verifies ? await compare(streamed, with: asset) : .streamed(bytes: streamed.byteCount)
        } catch  where error.code == .cancelled {
            return .stopped
        } catch {
            return await judge(error, of: asset)
        }
    }

    /// A difference is the queue's fault only if the file held still: the same metadata before and after, two plain reads
    /// that agree with each other, and as many bytes as its size says (those of `/proc` are made up as they are read).
    private func compare(_ streamed: Checksum, with asset: Asset) async -> Outcome {
        do throws(PlainRead.Failure) {
            let plain = try await PlainRead.checksum(of: asset.path)
            if plain == streamed { return .verified(bytes: streamed.byteCount) }
            let again = try await PlainRead.checksum(of: asset.path)
            let heldStill =
                again == plain && asset == Asset(asset.path) && asset.size == UInt64(plain.byteCount)
            guard heldStill else { return .changed(asset.path) }
            return .wrong(asset.path, "the queue delivered \(streamed), a plain read \(plain)")
        } catch {
            return error.isCancelled ? .stopped : .changed(asset.path)
        }
    }

    /// An error of the queue's is an unreadable file only if a plain read fails too.
    private func judge(_ error: StorageError, of asset: Asset) async -> Outcome {
        do throws(PlainRead.Failure) {
            _ = try await PlainRead.checksum(of: asset.path)
            return .wrong(asset.path, "the queue failed, a plain read did not: \(error)")
        } catch {
            return error.isCancelled ? .stopped : .unreadable(asset.path, "\(error)")
        }
    }
}

/// The rules of archives that lie on one another.
package enum Overlay {
    /// Checks that each archive but the first is a patch whose base lies below it, and that none is there twice.
    ///
    /// A single patch without its base is allowed: what it holds can be read. Returns what is wrong, and with which one.
    package static func problem(_ headers: [ArchiveHeader]) -> (index: Int, code: ArchiveError.Code, message: String)? {
        var seen: Set<UInt64> = []
        for (index, header) in headers.enumerated() {
            if header.isPatch, header.baseIdentity == header.identity {
                return (index, .overlayCycle, "The patch says that it is its own base")
            }
            if !seen.insert(header.identity).inserted {
                return (index, .overlayCycle, "The archive is in the list twice")
            }
            guard headers.count > 1 else { continue }
            let later = headers[index...].contains { $0.identity == header.baseIdentity }
            if header.isPatch, later { return (index, .overlayCycle, "The patch's base lies on the patch") }
            if index == 0, header.isPatch { return (index, .overlayMismatch, "A patch is the lowest of the archives") }
            if index > 0, !header.isPatch {
                return (index, .overlayMismatch, "An archive that is no patch lies on another")
            }
            if index > 0, !seen.contains(header.baseIdentity) {
                return (index, .overlayMismatch, "The patch was made for another archive than those below it")
            }
        }
        return nil
    }
}

/// Which entries are to be seen, in the order of their paths, of archives that lie on one another.
struct MergedIndex: Sendable {
    /// Where an entry is.
    struct Place: Sendable {
        var layer: UInt32
        var entry: UInt32
    }

    /// Nil for a single archive without deletions, whose index is its table.
    private let places: [Place]?
    let count: Int

    init(_ tables: [ArchiveTable]) throws(ArchiveError) {
        if tables.count == 1, !tables[0].header.isPatch {
            places = nil
            count = tables[0].count
            return
        }
        var merged: [Place] = []
        for (layer, table) in tables.enumerated() { merged = Self.lay(table, UInt32(layer), on: merged, of: tables) }
        for (folder, other) in zip(merged, merged.dropFirst()) {
            let conflicts = Self.withPath(folder, tables) { folder in
                Self.withPath(other, tables) { EntryPath.isFolder(folder, of: $0) }
            }
            guard !conflicts else {
                let table = tables[Int(other.layer)]
                throw ArchiveError(
                    .conflictingPaths, entry: table.path(of: table[entry: Int(other.entry)]),
                    "A folder of this path is a file in another of the archives")
            }
        }
        places = merged
        count = merged.count
    }

    /// One pass over both, which have the same order.
    private static func lay(
        _ table: ArchiveTable, _ layer: UInt32, on base: [Place], of tables: [ArchiveTable]
    ) -> [Place] {
        var merged: [Place] = []
        merged.reserveCapacity(base.count + table.count)
        var next = 0
        for index in 0..<table.count {
            let place = Place(layer: layer, entry: UInt32(index))
            var order = 1
            while next < base.count {
                order = withPath(base[next], tables) { old in withPath(place, tables) { EntryPath.order(old, $0) } }
                guard order < 0 else { break }
                merged.append(base[next])
                next += 1
            }
            // Replaced, or deleted.
            if next < base.count, order == 0 { next += 1 }
            if table[entry: index].kind == .file { merged.append(place) }
        }
        merged += base[next...]
        return merged
    }

    private static func withPath<R>(_ place: Place, _ tables: [ArchiveTable], _ body: (RawSpan) -> R) -> R {
        let table = tables[Int(place.layer)]
        return table.withPath(of: table[entry: Int(place.entry)], body)
    }

    subscript(index: Int) -> Place {
        guard let places else { return Place(layer: 0, entry: UInt32(index)) }
        return places[index]
    }

    /// The place of the entry with that path.
    /// - Complexity: O(log *n*)
    func find(_ path: RawSpan, _ tables: [ArchiveTable]) -> Place? {
        guard let places else { return tables[0].find(path).map { Place(layer: 0, entry: UInt32($0)) } }
        var (low, high) = (0, places.count)
        while low < high {
            let middle = low + (high - low) / 2
            let order = Self.withPath(places[middle], tables) { EntryPath.order($0, path) }
            if order == 0 { return places[middle] }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return nil
    }
}

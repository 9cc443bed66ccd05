extension GDeflate {
    /// What the head of a tile stream says: how many pages there are, and where each lies.
    ///
    /// A GPU decoder needs the same ranges, one page being the work of one workgroup.
    public struct TileStream: Sendable {
        static let headerSize = 8
        static let offsetSize = 4
        static let mostTiles = Int(UInt16.max)
        static let tooLong = CodecError(.notSupported, "A tile stream's pages have less than 4 GiB together")
        private static let identifier: UInt8 = 4
        /// Some streams begin so instead, and are the same otherwise.
        private static let otherIdentifier: UInt8 = 0xFE

        /// How many pages there are, at most 65535.
        public let tileCount: Int
        /// The uncompressed size.
        public let byteCount: Int
        // Where the pages begin, in bytes from the start of the stream, and where the last one ends. Never decreases,
        // and never leaves the stream.
        private let bounds: [Int]

        /// Reads and checks the head of the stream, which has to be here whole: the ranges lie in these bytes.
        public init(_ stream: RawSpan) throws(CodecError) {
            try self.init(head: stream, streamSize: stream.byteCount)
        }

        /// How many bytes the head of the stream has that begins so, or 8 if these are fewer.
        public static func headSize(_ stream: RawSpan) -> Int {
            stream.byteCount < headerSize ? headerSize : headerSize + offsetSize * Int(stream.word(at: 0) >> 16)
        }

        /// Reads and checks the head of a stream of `streamSize` bytes, of which these are at least the head.
        public init(head stream: RawSpan, streamSize: Int) throws(CodecError) {
            guard stream.byteCount >= Self.headerSize else {
                throw CodecError(.truncated, offset: stream.byteCount, "The stream ends within its header")
            }
            let first = stream.word(at: 0)
            let identifier = UInt8(truncatingIfNeeded: first)
            guard identifier == Self.identifier || identifier == Self.otherIdentifier,
                UInt8(truncatingIfNeeded: first >> 8) == ~identifier
            else { throw CodecError(.malformed, offset: 0, "The bytes do not begin like a GDeflate stream") }
            let tileCount = Int(first >> 16)
            let sizes = stream.word(at: 4)
            guard sizes & 3 == 1 else {
                throw CodecError(.notSupported, offset: 4, "The stream's tiles are not of 64 KiB")
            }
            let lastTileSize = Int(sizes >> 2 & 0x3FFFF)
            guard lastTileSize <= pageSize, tileCount > 0 || lastTileSize == 0 else {
                throw CodecError(.malformed, offset: 4, "The last tile cannot have \(lastTileSize) bytes")
            }
            let payload = Self.headerSize + Self.offsetSize * tileCount
            guard stream.byteCount >= payload else {
                throw CodecError(.truncated, offset: stream.byteCount, "The stream ends within its table of tiles")
            }
            self.tileCount = tileCount
            byteCount = tileCount * pageSize - (lastTileSize == 0 ? 0 : pageSize - lastTileSize)

            var bounds = [payload]
            bounds.reserveCapacity(tileCount + 1)
            // The first tile begins at 0, so its entry has room for the size of the last.
            for tile in 0..<tileCount {
                let entry = Self.headerSize + Self.offsetSize * ((tile + 1) % tileCount)
                let end = Int(stream.word(at: entry)) + (tile + 1 == tileCount ? bounds[tile] : payload)
                guard end >= bounds[tile] else {
                    throw CodecError(.malformed, offset: entry, "Tile \(tile + 1) begins before tile \(tile)")
                }
                guard end <= streamSize else {
                    throw CodecError(.truncated, offset: entry, "Tile \(tile) ends at \(end), behind the stream")
                }
                bounds.append(end)
            }
            guard bounds[tileCount] == streamSize else {
                throw CodecError(.malformed, offset: bounds[tileCount], "Bytes follow the last tile")
            }
            self.bounds = bounds
        }

        static func tileCount(of byteCount: Int) -> Int {
            byteCount / pageSize + (byteCount % pageSize == 0 ? 0 : 1)
        }

        /// The size of the head of a stream of so many uncompressed bytes.
        static func headSize(of byteCount: Int) -> Int { headerSize + offsetSize * tileCount(of: byteCount) }

        /// Writes the head of a stream whose tiles have these sizes; for at most 65535 tiles.
        /// - Precondition: All but the last have less than 4 GiB together.
        static func writeHead(of byteCount: Int, _ tileSizes: [Int], to destination: UnsafeMutableRawBufferPointer) {
            writeHeader(of: byteCount, to: destination)
            var start = 0
            for (tile, size) in tileSizes.enumerated() {
                if tile > 0 { writeOffset(start, of: tile, to: destination) }
                start += size
            }
            // The last tile's size stands where the first one's offset, which is 0, would be.
            if let last = tileSizes.last { writeOffset(last, of: 0, to: destination) }
        }

        /// For at most 65535 tiles; the destination has room for the header.
        static func writeHeader(of byteCount: Int, to destination: UnsafeMutableRawBufferPointer) {
            let first = UInt32(identifier) | UInt32(~identifier) << 8 | UInt32(tileCount(of: byteCount)) << 16
            destination.storeBytes(of: first.littleEndian, as: UInt32.self)
            let sizes = 1 | UInt32(byteCount % pageSize) << 2
            destination.storeBytes(of: sizes.littleEndian, toByteOffset: 4, as: UInt32.self)
        }

        /// The destination has room for the table.
        static func writeOffset(_ offset: Int, of tile: Int, to destination: UnsafeMutableRawBufferPointer) {
            let place = headerSize + offsetSize * tile
            destination.storeBytes(
                of: UInt32(truncatingIfNeeded: offset).littleEndian, toByteOffset: place, as: UInt32.self)
        }

        /// Where the tile's page lies, in bytes from the start of the stream.
        public func page(of tile: Int) -> Range<Int> { bounds[tile]..<bounds[tile + 1] }

        /// Where the tile's bytes go, in bytes from the start of the uncompressed bytes.
        public func destination(of tile: Int) -> Range<Int> {
            precondition(tile >= 0 && tile < tileCount, "No such tile")
            return tile * pageSize..<min((tile + 1) * pageSize, byteCount)
        }
    }
}

extension RawSpan {
    /// The little-endian word there, which the caller has made sure lies within.
    fileprivate func word(at offset: Int) -> UInt32 {
        UInt32(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
}

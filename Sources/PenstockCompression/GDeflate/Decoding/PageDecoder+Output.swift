/// What is moved at once. Up to one vector less a byte is written too much, where that does no harm.
private typealias Vector = SIMD16<UInt8>
private let vectorSize = MemoryLayout<Vector>.size

// The second half: from literals and matches to bytes.
extension PageDecoder {
    /// Writes out, in order, what is complete: all before the first match that has no distance yet.
    mutating func writeOut() throws(CodecError) {
        let literals = UnsafeRawPointer(self.literals)
        var taken = 0
        for index in 1..<completeCount {
            let match = matches[index]
            let run = Int(match.literalEnd) - taken
            let length = Int(match.length)
            let distance = Int(match.distance)
            let literal = literals + taken
            taken += run
            // Most are short: a vector each does, if whole ones fit, and if none reaches into itself.
            if run <= vectorSize, distance >= min(length, vectorSize), distance <= output - outputStart + run,
                outputEnd - output >= length + 2 * vectorSize
            {
                // Of the literals, 16 bytes can be read from any.
                output.storeBytes(of: literal.loadUnaligned(as: Vector.self), as: Vector.self)
                output += run
                let source = output - distance
                output.storeBytes(of: source.loadUnaligned(as: Vector.self), as: Vector.self)
                var copied = vectorSize
                while copied < length {
                    (output + copied).storeBytes(of: (source + copied).loadUnaligned(as: Vector.self), as: Vector.self)
                    copied += vectorSize
                }
                output += length
            } else {
                try write(literals: literal, run)
                try copyMatch(distance, length)
            }
        }
        let isAll = completeCount == matchCount
        let end = isAll ? literalCount : Int(matches[completeCount].literalEnd)
        try write(literals: literals + taken, end - taken)
        keep(from: end)
    }

    private mutating func write(literals: UnsafeRawPointer, _ count: Int) throws(CodecError) {
        guard count <= outputEnd - output else {
            throw failure(.sizeMismatch, "The page holds more than \(outputEnd - outputStart) bytes")
        }
        output.copyMemory(from: literals, byteCount: count)
        output += count
    }

    private mutating func copyMatch(_ distance: Int, _ length: Int) throws(CodecError) {
        guard distance <= output - outputStart else {
            throw failure(.malformed, "A match reaches \(distance) bytes back, of \(output - outputStart)")
        }
        guard length <= outputEnd - output else {
            throw failure(.sizeMismatch, "The page holds more than \(outputEnd - outputStart) bytes")
        }
        var output = output
        let end = output + length
        // As long as whole vectors fit: into the match, or at least into the destination.
        let stop = outputEnd - end >= vectorSize ? end : end - (vectorSize - 1)
        let source = output - distance
        // A match that reaches into itself repeats, so one of a short distance is one of twice that distance too, once
        // there are so many bytes: until whole vectors lie between the two.
        while output - source < vectorSize, output < stop {
            let distance = output - source
            output.storeBytes(of: source.loadUnaligned(as: Vector.self), as: Vector.self)
            output += distance
        }
        let step = output - source
        while output < stop {
            output.storeBytes(of: (output - step).loadUnaligned(as: Vector.self), as: Vector.self)
            output += vectorSize
        }
        while output < end {
            output.storeBytes(of: (output - step).load(as: UInt8.self), as: UInt8.self)
            output += 1
        }
        self.output = end
    }

    /// Moves what was not complete to the front: at most what the last round of the lanes has decoded.
    private mutating func keep(from firstLiteral: Int) {
        // No lane waits for a match that has its distance.
        let moved = completeCount - 1
        for index in completeCount..<matchCount {
            matches[index - moved] = matches[index]
            matches[index - moved].literalEnd -= UInt32(firstLiteral)
        }
        for lane in 0..<Self.laneCount where lanes[lane].table != 0 {
            lanes[lane].match -= UInt32(moved * MemoryLayout<Match>.stride)
        }
        for index in firstLiteral..<literalCount { literals[index - firstLiteral] = literals[index] }
        literalCount -= firstLiteral
        matchCount -= moved
        completeCount = 1
    }
}

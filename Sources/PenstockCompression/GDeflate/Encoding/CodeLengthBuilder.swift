/// Finds the best code lengths for given frequencies, none longer than a limit.
///
/// Huffman's algorithm first; where it exceeds the limit, package-merge, which is optimal under one but slower.
final class CodeLengthBuilder {
    static let largestAlphabet = 288
    private static let longestLimit = 15
    /// A key is a frequency above its symbol; a page's frequencies have up to 17 bits.
    private static let symbolBits: UInt32 = 9
    private static let symbolMask: UInt32 = 511

    // Keys in ascending order, and room for sorting them.
    private let keys = UnsafeMutablePointer<UInt32>.allocate(capacity: largestAlphabet)
    private let otherKeys = UnsafeMutablePointer<UInt32>.allocate(capacity: largestAlphabet)
    private let buckets = UnsafeMutablePointer<UInt32>.allocate(capacity: 512)
    // The tree: weights and parents of its inner nodes, parents of its leaves.
    private let weights = UnsafeMutablePointer<UInt32>.allocate(capacity: 2 * largestAlphabet)
    private let otherWeights = UnsafeMutablePointer<UInt32>.allocate(capacity: 2 * largestAlphabet)
    private let parents = UnsafeMutablePointer<UInt16>.allocate(capacity: largestAlphabet)
    private let leafParents = UnsafeMutablePointer<UInt16>.allocate(capacity: largestAlphabet)
    // Package-merge: which items of each round's list are leaves.
    private let isLeaf = UnsafeMutablePointer<Bool>.allocate(capacity: 2 * largestAlphabet * longestLimit)

    deinit {
        for pointer in [keys, otherKeys, buckets, weights, otherWeights] { pointer.deallocate() }
        for pointer in [parents, leafParents] { pointer.deallocate() }
        isLeaf.deallocate()
    }

    /// Sets `lengths`: 0 for symbols that do not occur, 1 to `limit` for the others.
    ///
    /// The code is complete unless no symbol occurs: where only one does, a second one gets a codeword too, because not
    /// every decoder takes a code of one.
    func assign(
        _ lengths: UnsafeMutablePointer<UInt8>, for frequencies: UnsafePointer<UInt32>, count: Int, limit: Int
    ) {
        var used = 0
        for symbol in 0..<count {
            lengths[symbol] = 0
            guard frequencies[symbol] > 0 else { continue }
            keys[used] = frequencies[symbol] &<< Self.symbolBits | UInt32(truncatingIfNeeded: symbol)
            used &+= 1
        }
        guard used > 1 else {
            guard used == 1 else { return }
            let symbol = Int(keys[0] & Self.symbolMask)
            lengths[symbol] = 1
            lengths[symbol == 0 ? 1 : 0] = 1
            return
        }
        sort(used)
        buildTree(used)
        // The rarest symbol is the deepest leaf.
        let depths = weights
        if Int(depths[Int(leafParents[0])]) + 1 > limit { return packageMerge(lengths, used, limit: limit) }
        for leaf in 0..<used {
            lengths[symbol(leaf)] = UInt8(truncatingIfNeeded: depths[Int(leafParents[leaf])] &+ 1)
        }
    }

    @inline(__always) private func symbol(_ leaf: Int) -> Int { Int(keys[leaf] & Self.symbolMask) }
    @inline(__always) private func weight(_ leaf: Int) -> UInt32 { keys[leaf] &>> Self.symbolBits }

    private func sort(_ count: Int) {
        guard count > 32 else { return insertionSort(count) }
        // The symbols are in order already, so only the frequency's 18 bits need sorting, nine at a time.
        radixPass(from: keys, to: otherKeys, count, shift: Self.symbolBits)
        radixPass(from: otherKeys, to: keys, count, shift: 2 * Self.symbolBits)
    }

    private func insertionSort(_ count: Int) {
        for index in 1..<count {
            let key = keys[index]
            var place = index
            while place > 0, keys[place &- 1] > key {
                keys[place] = keys[place &- 1]
                place &-= 1
            }
            keys[place] = key
        }
    }

    private func radixPass(
        from: UnsafeMutablePointer<UInt32>, to: UnsafeMutablePointer<UInt32>, _ count: Int, shift: UInt32
    ) {
        buckets.update(repeating: 0, count: 512)
        for index in 0..<count { buckets[Int(from[index] &>> shift & 511)] &+= 1 }
        var start: UInt32 = 0
        for bucket in 0..<512 {
            let size = buckets[bucket]
            buckets[bucket] = start
            start &+= size
        }
        for index in 0..<count {
            let bucket = Int(from[index] &>> shift & 511)
            to[Int(buckets[bucket])] = from[index]
            buckets[bucket] &+= 1
        }
    }

    /// Leaves the depths of the inner nodes in `weights`, and the leaves' parents in `leafParents`.
    private func buildTree(_ count: Int) {
        // Inner nodes arise in ascending order of weight, so the two lightest are always at the front of two queues.
        var leaf = 0
        var node = 0
        for next in 0..<count &- 1 {
            var sum: UInt32 = 0
            for _ in 0..<2 {
                if leaf < count, node >= next || weight(leaf) <= weights[node] {
                    sum &+= weight(leaf)
                    leafParents[leaf] = UInt16(truncatingIfNeeded: next)
                    leaf &+= 1
                } else {
                    sum &+= weights[node]
                    parents[node] = UInt16(truncatingIfNeeded: next)
                    node &+= 1
                }
            }
            weights[next] = sum
        }
        weights[count &- 2] = 0
        var inner = count &- 3
        while inner >= 0 {
            weights[inner] = weights[Int(parents[inner])] &+ 1
            inner &-= 1
        }
    }

    private func packageMerge(_ lengths: UnsafeMutablePointer<UInt8>, _ count: Int, limit: Int) {
        // Each round's list: the leaves, and pairs of the list before, in ascending order of weight.
        var previous = weights
        var current = otherWeights
        var previousCount = 0
        for round in 0..<limit {
            let flags = isLeaf + round * 2 * Self.largestAlphabet
            let packages = previousCount / 2
            var leaf = 0
            var package = 0
            for item in 0..<count + packages {
                let packed = package < packages ? previous[2 * package] + previous[2 * package + 1] : UInt32.max
                if leaf < count, weight(leaf) <= packed {
                    current[item] = weight(leaf)
                    flags[item] = true
                    leaf += 1
                } else {
                    current[item] = packed
                    flags[item] = false
                    package += 1
                }
            }
            previousCount = count + packages
            swap(&previous, &current)
        }
        // The first 2n − 2 of the last list; of each list before, the pairs that were taken. A leaf is as deep as it was
        // taken often.
        var taken = 2 * count - 2
        for round in stride(from: limit - 1, through: 0, by: -1) {
            let flags = isLeaf + round * 2 * Self.largestAlphabet
            var leaves = 0
            for item in 0..<taken where flags[item] { leaves += 1 }
            for leaf in 0..<leaves { lengths[symbol(leaf)] += 1 }
            taken = 2 * (taken - leaves)
        }
    }
}

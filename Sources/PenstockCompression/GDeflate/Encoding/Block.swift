/// A stretch of the page that gets codes of its own.
struct Block {
    /// Its sequences.
    var first: Int
    var end: Int
    /// Its bytes.
    var start: Int
    var size: Int
    var histogram: Histogram
}

/// Finds matches with earlier positions of a page. It is shown positions in ascending order, none twice.
protocol MatchFinder {
    /// Begins a page.
    func clear()

    /// Is shown a position of which no match is wanted.
    func skip(_ window: PageWindow, _ position: Int)

    /// Is shown a position, and finds matches: each longer than the one before, and the nearest of its length that was
    /// looked at.
    /// - Parameters:
    ///   - position: At least 1, and at least four bytes before the end of the page.
    ///   - length: Only longer matches are wanted.
    ///   - effort: How many earlier positions to look at.
    ///   - found: Gets a length and a distance.
    func find(
        _ window: PageWindow, _ position: Int, longerThan length: Int, effort: Int, _ found: (Int, Int) -> Void)
}

/// A text table with aligned columns, for a terminal or a log.
struct Table {
    /// Words line up on the left, numbers on the right.
    enum Alignment {
        case left, right
    }

    /// A column's heading and how its cells line up.
    struct Column {
        let title: String
        let alignment: Alignment

        static func left(_ title: String) -> Column { Column(title: title, alignment: .left) }
        static func right(_ title: String) -> Column { Column(title: title, alignment: .right) }
    }

    private let columns: [Column]
    private let indent: Int
    private var rows: [[String]] = []

    /// A table without rows yet, `indent` spaces in from the left.
    init(indent: Int = 0, _ columns: [Column]) {
        self.columns = columns
        self.indent = indent
    }

    /// Adds a row; missing cells are left blank.
    mutating func append(_ cells: [String]) {
        precondition(cells.count <= columns.count, "a row has more cells than the table has columns")
        rows.append(cells + Array(repeating: "", count: columns.count - cells.count))
    }

    /// The headings and rows, each line ended, none with trailing spaces.
    var text: String {
        let titles = columns.map(\.title)
        let lines = titles.allSatisfy(\.isEmpty) ? rows : [titles] + rows
        let widths = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { cells in line(cells, widths) + "\n" }.joined()
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        var line = String(repeating: " ", count: indent)
        for (index, cell) in cells.enumerated() {
            let padding = String(repeating: " ", count: widths[index] - cell.count)
            line += columns[index].alignment == .left ? cell + padding : padding + cell
            line += "  "
        }
        while line.last == " " { line.removeLast() }
        return line
    }
}

/// One JSON object on one line, its keys in the order given.
///
/// A dozen lines instead of `JSONEncoder`, because Foundation stays out of the tool and its keys come in no order.
///
///     print(JSONLine(["case": "4 KiB", "ops_per_s": 1_030_000, "target": .null]).text)
struct JSONLine: Sendable, ExpressibleByDictionaryLiteral {
    private var members: [(key: String, value: JSONValue)]

    /// An object with the given members, in the order written.
    init(dictionaryLiteral elements: (String, JSONValue)...) {
        members = elements.map { (key: $0.0, value: $0.1) }
    }

    /// Adds a member at the end. Whoever adds a key twice writes it twice.
    mutating func append(_ key: String, _ value: JSONValue) {
        members.append((key, value))
    }

    /// The object, without a line end.
    var text: String {
        var text = ""
        JSONValue.object(self).write(to: &text)
        return text
    }

    fileprivate func write(to text: inout String) {
        text += "{"
        for (index, member) in members.enumerated() {
            if index > 0 { text += ", " }
            JSONValue.string(member.key).write(to: &text)
            text += ": "
            member.value.write(to: &text)
        }
        text += "}"
    }
}

/// A value that JSON can hold.
enum JSONValue: Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    /// Written as `null` where it is not finite: JSON has no infinity.
    case number(Double)
    case string(String)
    case array([JSONValue])
    indirect case object(JSONLine)

    /// A number, or `null` for none.
    static func number(_ value: Double?) -> JSONValue {
        value.map { .number($0) as JSONValue } ?? .null
    }

    fileprivate func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .boolean(let value): text += value ? "true" : "false"
        case .integer(let value): text += "\(value)"
        case .number(let value): text += value.isFinite ? "\(value)" : "null"
        case .string(let value): Self.write(escaped: value, to: &text)
        case .array(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += ", " }
                value.write(to: &text)
            }
            text += "]"
        case .object(let line): line.write(to: &text)
        }
    }

    private static func write(escaped string: String, to text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\0"..."\u{1F}":
                let hexadecimal = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral
{
    init(stringLiteral value: String) { self = .string(value) }
    init(integerLiteral value: Int64) { self = .integer(value) }
    init(floatLiteral value: Double) { self = .number(value) }
    init(booleanLiteral value: Bool) { self = .boolean(value) }
    init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
}

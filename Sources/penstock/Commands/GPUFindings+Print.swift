import Penstock
import PenstockVulkan

extension GPUFindings.Device {
    /// The device as a paragraph.
    var text: String {
        var table = Table(indent: 2, [.left(""), .left("")])
        table.append(["driver", physical.driver])
        table.append(["Vulkan", physical.version])
        for (label, text) in paths { table.append([label, text]) }
        table.append(["import", importInWords])
        table.append(["GDeflate", physical.gdeflate])
        for (index, size) in physical.heapSizes.enumerated() { table.append(["heap \(index)", Units.bytes(size)]) }
        for type in physical.memoryTypes {
            let properties = type.properties.isEmpty ? "no properties" : type.properties.joined(separator: " ")
            table.append(["memory \(type.index)", "heap \(type.heap): \(properties)"])
        }
        for family in physical.queueFamilies {
            table.append(["family \(family.index)", family.inWords])
        }
        let standing = finding.isGood ? "" : "; not used: \(finding.reason ?? "")"
        return "\(physical.name), \(physical.kind)\(standing)\n\(table.text)"
    }

    private var importInWords: String {
        physical.importAlignment.map { "host memory in multiples of \(Units.bytes(UInt64($0)))" }
            ?? "none: no VK_EXT_external_memory_host"
    }

    /// The device for programs, as members of its finding's object.
    func addMembers(to line: inout JSONLine) {
        line.append("device", .string(physical.name))
        line.append("kind", .string(physical.kind))
        line.append("driver", .string(physical.driver))
        line.append("vulkan", .string(physical.version))
        let paths: [JSONValue] = paths.map { .object(["destination": .string($0.label), "path": .string($0.text)]) }
        line.append("paths", .array(paths))
        line.append("direct_landing", trial.map { .boolean($0.landsDirectly) } ?? .null)
        line.append("memory_decompression", physical.memoryDecompression.map { .string($0.rawValue) } ?? .null)
        line.append("import_alignment", physical.importAlignment.map { .integer(Int64($0)) } ?? .null)
        line.append("heaps", .array(physical.heapSizes.map { .integer(Int64(clamping: $0)) }))
        let types: [JSONValue] = physical.memoryTypes.map {
            .object(["heap": .integer(Int64($0.heap)), "properties": .array($0.properties.map { .string($0) })])
        }
        line.append("memory_types", .array(types))
        let families: [JSONValue] = physical.queueFamilies.map {
            .object([
                "count": .integer(Int64($0.count)), "abilities": .array($0.abilities.map { .string($0) }),
                "granularity": .array($0.granularityInTexels.map { .integer(Int64($0)) }),
            ])
        }
        line.append("queue_families", .array(families))
    }
}

extension PhysicalDevice.QueueFamily {
    fileprivate var inWords: String {
        let texels = granularityInTexels
        let granularity =
            texels.contains(0)
            ? "images by whole mip levels" : "image granularity \(texels.map { "\($0)" }.joined(separator: " × "))"
        let queues = count == 1 ? "1 queue" : "\(count) queues"
        return "\(queues): \(abilities.joined(separator: " ")), \(granularity)"
    }
}

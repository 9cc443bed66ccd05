// The header gives the functions their names and documentation.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase

import CPenstock
import Penstock
import PenstockVulkan

/// What a `penstock_image` stands for.
final class HostedImage: Sendable {
    let image: GPUImage

    init(_ image: GPUImage) { self.image = image }
}

extension Handles {
    static let images = HandleTable<HostedImage>()

    static func image(_ handle: penstock_image) throws -> GPUImage {
        guard let hosted = images.find(handle.id) else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
        return hosted.image
    }
}

extension GPUImage.Description {
    init(_ description: UnsafePointer<penstock_image_description>?) throws {
        var values = penstock_image_description()
        try load(description, over: &values)
        guard values.reserved == 0, values.is_cube <= 1 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        func orOne(_ value: UInt32) -> Int { max(1, Int(value)) }
        self.init(
            format: values.format, width: orOne(values.width), height: orOne(values.height), depth: orOne(values.depth),
            mipLevels: orOne(values.mip_levels), arrayLayers: orOne(values.array_layers),
            dimensions: values.dimensions == 0 ? nil : Int(values.dimensions), isCube: values.is_cube == 1)
    }
}

extension GPUImage.Part {
    fileprivate init(_ part: penstock_image_part) throws {
        guard let pitch = Int(exactly: part.row_pitch) else {
            throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        func unlessZero(_ value: UInt32) -> Int? { value == 0 ? nil : Int(value) }
        let first = Int(part.first_layer)
        self.init(mip: Int(part.mip), layers: first..<first + max(1, Int(part.layer_count)))
        (x, y, z) = (Int(part.x), Int(part.y), Int(part.z))
        (width, height, depth) = (unlessZero(part.width), unlessZero(part.height), unlessZero(part.depth))
        rowPitch = pitch == 0 ? nil : pitch
        gap = Int(part.gap)
    }
}

extension penstock_request {
    /// The parts of the image that it names, which must have so many bytes.
    func region(count: Int) throws -> GPUImage.Region {
        let image = try Handles.image(image)
        let (old, new) = (GPUImageLayout(rawValue: old_layout), GPUImageLayout(rawValue: new_layout))
        let region: GPUImage.Region
        if let parts {
            let all = try UnsafeBufferPointer(start: parts, count: Int(part_count)).map { try GPUImage.Part($0) }
            region = image.parts(all, from: old, to: new)
        } else {
            guard part_count == 0 else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
            region = image.whole(order: try wholeOrder, from: old, to: new)
        }
        // What is wrong with the parts themselves, the slice of them says.
        if let problem = region.place.slice.problem { throw problem }
        guard region.count == count else { throw Refusal(PENSTOCK_ERROR_INVALID_RANGE) }
        return region
    }

    private var wholeOrder: GPUImage.Order {
        get throws {
            switch Int(order) {
            case Int(PENSTOCK_ORDER_MIPS): .mips
            case Int(PENSTOCK_ORDER_MIPS_SMALLEST): .mipsSmallestFirst
            case Int(PENSTOCK_ORDER_LAYERS): .layers
            default: throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
            }
        }
    }
}

@c @implementation
public func penstock_image_adopt(
    _ device: penstock_device, _ handle: UInt64, _ description: UnsafePointer<penstock_image_description>!,
    _ image: UnsafeMutablePointer<penstock_image>!
) -> penstock_result {
    answer {
        let device = try Handles.device(device)
        guard let image, let native = OpaquePointer(bitPattern: UInt(handle)) else {
            throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT)
        }
        let adopted = HostedImage(try device.adopt(image: native, GPUImage.Description(description)))
        image.pointee = penstock_image(id: Handles.images.insert(adopted))
    }
}

@c @implementation
public func penstock_image_create(
    _ device: penstock_device, _ description: UnsafePointer<penstock_image_description>!, _ usage: UInt32,
    _ image: UnsafeMutablePointer<penstock_image>!
) -> penstock_result {
    answer {
        let device = try Handles.device(device)
        guard let image else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        let made = HostedImage(try device.makeImage(GPUImage.Description(description), usage: usage))
        image.pointee = penstock_image(id: Handles.images.insert(made))
    }
}

@c @implementation
public func penstock_image_size(_ image: penstock_image, _ size: UnsafeMutablePointer<UInt64>!) -> penstock_result {
    answer {
        let image = try Handles.image(image)
        guard let size else { throw Refusal(PENSTOCK_ERROR_INVALID_ARGUMENT) }
        size.pointee = UInt64(image.byteCount)
    }
}

@c @implementation
public func penstock_image_close(_ image: penstock_image) -> penstock_result {
    answer {
        guard Handles.images.remove(image.id) != nil else { throw Refusal(PENSTOCK_ERROR_INVALID_HANDLE) }
    }
}

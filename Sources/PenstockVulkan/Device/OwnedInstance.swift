import CVulkan
import Penstock

/// A Vulkan instance made for a device of ours, with the validation layer if it was asked for.
final class OwnedInstance: @unchecked Sendable {  // used by one thread at a time: the one that makes or destroys it
    let handle: VkInstance
    let functions: InstanceFunctions
    private let messenger: VkDebugUtilsMessengerEXT?
    private let receiver: Receiver?

    /// What the validation layer has to say goes here.
    final class Receiver: Sendable {
        let receive: @Sendable (String) -> Void
        init(_ receive: @escaping @Sendable (String) -> Void) { self.receive = receive }
    }

    static let validationLayer = "VK_LAYER_KHRONOS_validation"

    init(
        _ globals: VulkanGlobals, validation: (@Sendable (String) -> Void)?
    ) throws(VulkanFailure) {
        let receiver = validation.map(Receiver.init)
        handle = try Self.make(globals, receiver)
        do throws(VulkanFailure) {
            functions = try InstanceFunctions(handle, globals.getInstanceProcAddr)
        } catch {
            if let destroy = globals.getInstanceProcAddr(handle, "vkDestroyInstance") {
                unsafeBitCast(destroy, to: PFN_vkDestroyInstance.self)(handle, nil)
            }
            throw error
        }
        self.receiver = receiver
        var messenger: VkDebugUtilsMessengerEXT?
        if let receiver, let create = functions.createDebugUtilsMessenger {
            var info = Self.messengerInfo(receiver)
            _ = create(handle, &info, nil, &messenger)
        }
        self.messenger = messenger
    }

    func destroy() {
        if let messenger { functions.destroyDebugUtilsMessenger?(handle, messenger, nil) }
        functions.destroyInstance(handle, nil)
    }

    private static func make(_ globals: VulkanGlobals, _ receiver: Receiver?) throws(VulkanFailure) -> VkInstance {
        var application = VkApplicationInfo()
        application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO
        application.apiVersion = PENSTOCK_VK_API_VERSION_1_3
        var info = VkInstanceCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO
        var instance: VkInstance?
        var result = VK_SUCCESS
        let layers = receiver == nil ? [] : [validationLayer]
        let extensions = receiver == nil ? [] : ["VK_EXT_debug_utils"]
        withCStrings(layers) { layers in
            withCStrings(extensions) { extensions in
                withUnsafePointer(to: &application) { application in
                    info.pApplicationInfo = application
                    info.enabledLayerCount = UInt32(layers.count)
                    info.ppEnabledLayerNames = layers.baseAddress
                    info.enabledExtensionCount = UInt32(extensions.count)
                    info.ppEnabledExtensionNames = extensions.baseAddress
                    guard let receiver else {
                        result = globals.createInstance(&info, nil, &instance)
                        return
                    }
                    withValidation(receiver) { chain in
                        info.pNext = chain
                        result = globals.createInstance(&info, nil, &instance)
                    }
                }
            }
        }
        try check(result, "vkCreateInstance")
        return instance!
    }

    /// Core, synchronization and thread-safety checks, and a messenger for the instance's own making.
    private static func withValidation(_ receiver: Receiver, _ body: (UnsafeRawPointer) -> Void) {
        var messenger = messengerInfo(receiver)
        let enabled = [VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT]
        enabled.withUnsafeBufferPointer { enabled in
            withUnsafePointer(to: &messenger) { messenger in
                var features = VkValidationFeaturesEXT()
                features.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT
                features.enabledValidationFeatureCount = UInt32(enabled.count)
                features.pEnabledValidationFeatures = enabled.baseAddress
                features.pNext = UnsafeRawPointer(messenger)
                body(&features)
            }
        }
    }

    private static func messengerInfo(_ receiver: Receiver) -> VkDebugUtilsMessengerCreateInfoEXT {
        var info = VkDebugUtilsMessengerCreateInfoEXT()
        info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT
        info.messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT.rawValue
            | VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT.rawValue
        info.messageType =
            VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT.rawValue
            | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT.rawValue
        info.pUserData = Unmanaged.passUnretained(receiver).toOpaque()  // the instance outlives its messenger
        info.pfnUserCallback = { _, _, data, user in
            let receiver = Unmanaged<Receiver>.fromOpaque(user!).takeUnretainedValue()
            receiver.receive(data?.pointee.pMessage.map { String(cString: $0) } ?? "a message without text")
            return 0
        }
        return info
    }
}

/// Calls `body` with the strings as C has them.
func withCStrings<R>(_ strings: [String], _ body: (UnsafeBufferPointer<UnsafePointer<CChar>?>) -> R) -> R {
    let copies = strings.map { string in
        let bytes = string.utf8CString
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        bytes.withUnsafeBufferPointer { copy.initialize(from: $0.baseAddress!, count: $0.count) }
        return copy
    }
    defer { copies.forEach { $0.deallocate() } }
    return copies.map { UnsafePointer($0) as UnsafePointer<CChar>? }.withUnsafeBufferPointer(body)
}

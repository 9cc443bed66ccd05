import CVulkan
import Glibc
import Penstock

/// The system's Vulkan loader, found when it is asked for: a program that links Penstock starts without one.
package enum VulkanLoader {
    /// The loader's `vkGetInstanceProcAddr`.
    ///
    /// The library stays open, since drivers leave threads and handlers behind that outlive a `dlclose`.
    package static func open() throws(StorageError) -> PFN_vkGetInstanceProcAddr {
        guard let library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL) else {
            throw StorageError(
                .unavailable, .setUp,
                message: """
                    no Vulkan loader (libvulkan.so.1); install libvulkan1 (Debian, Ubuntu), vulkan-icd-loader (Arch) or \
                    vulkan-loader (Fedora), and a driver
                    """)
        }
        guard let symbol = dlsym(library, "vkGetInstanceProcAddr") else {
            throw StorageError(
                .unavailable, .setUp, message: "libvulkan.so.1 has no vkGetInstanceProcAddr; install it anew")
        }
        // The symbol of this name has this type in every loader.
        return unsafeBitCast(symbol, to: PFN_vkGetInstanceProcAddr.self)
    }

    /// What to install where there is a loader and nothing behind it.
    package static let noDevice = """
        no Vulkan device; install your GPU's driver, or mesa-vulkan-drivers (Debian, Ubuntu, Fedora) or vulkan-swrast \
        (Arch) for a software one
        """
}

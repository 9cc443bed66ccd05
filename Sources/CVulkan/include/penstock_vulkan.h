// Vulkan's types for Swift, and the few of its macros that Swift cannot import. No function of the loader is linked:
// PenstockVulkan finds them when it runs. Can go when a module map for <vulkan/vulkan_core.h> comes with the headers.
#ifndef PENSTOCK_VULKAN_H
#define PENSTOCK_VULKAN_H

// Types only; prototypes would make calls that need the loader at link time compile.
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "penstock_memory_decompression.h"

static const uint32_t PENSTOCK_VK_API_VERSION_1_2 = VK_API_VERSION_1_2;
static const uint32_t PENSTOCK_VK_API_VERSION_1_3 = VK_API_VERSION_1_3;

static inline uint32_t penstock_vk_version_major(uint32_t version) { return VK_API_VERSION_MAJOR(version); }
static inline uint32_t penstock_vk_version_minor(uint32_t version) { return VK_API_VERSION_MINOR(version); }
static inline uint32_t penstock_vk_version_patch(uint32_t version) { return VK_API_VERSION_PATCH(version); }

#endif

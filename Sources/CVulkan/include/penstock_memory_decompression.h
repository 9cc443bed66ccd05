// What VK_EXT_memory_decompression needs and older headers of Vulkan lack: Debian 12 has those of 1.3.239. Numbers and
// layouts are the Vulkan registry's. Each part can go when the oldest headers that are supported have it.
#ifndef PENSTOCK_MEMORY_DECOMPRESSION_H
#define PENSTOCK_MEMORY_DECOMPRESSION_H

#include <vulkan/vulkan_core.h>

// The usage of a buffer in 64 bits, since the extension's is the 33rd.
#ifndef VK_KHR_maintenance5

static const VkStructureType VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_5_FEATURES_KHR = (VkStructureType)1000470000;
static const VkStructureType VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO_KHR = (VkStructureType)1000470006;

typedef struct VkPhysicalDeviceMaintenance5FeaturesKHR {
    VkStructureType sType;
    void *pNext;
    VkBool32 maintenance5;
} VkPhysicalDeviceMaintenance5FeaturesKHR;

typedef struct VkBufferUsageFlags2CreateInfoKHR {
    VkStructureType sType;
    const void *pNext;
    VkFlags64 usage;
} VkBufferUsageFlags2CreateInfoKHR;

#endif

// Its features and properties are those of VK_NV_memory_decompression, in numbers too.
#ifndef VK_EXT_memory_decompression

static const VkStructureType VK_STRUCTURE_TYPE_DECOMPRESS_MEMORY_INFO_EXT = (VkStructureType)1000550002;

static const VkFlags64 VK_PIPELINE_STAGE_2_MEMORY_DECOMPRESSION_BIT_EXT = 1ULL << 45;
static const VkFlags64 VK_ACCESS_2_MEMORY_DECOMPRESSION_READ_BIT_EXT = 1ULL << 55;
static const VkFlags64 VK_ACCESS_2_MEMORY_DECOMPRESSION_WRITE_BIT_EXT = 1ULL << 56;
static const VkFlags64 VK_BUFFER_USAGE_2_MEMORY_DECOMPRESSION_BIT_EXT = 1ULL << 32;
static const VkFlags64 VK_MEMORY_DECOMPRESSION_METHOD_GDEFLATE_1_0_BIT_EXT = 1;

typedef struct VkDecompressMemoryRegionEXT {
    VkDeviceAddress srcAddress;
    VkDeviceAddress dstAddress;
    VkDeviceSize compressedSize;
    VkDeviceSize decompressedSize;
} VkDecompressMemoryRegionEXT;

typedef struct VkDecompressMemoryInfoEXT {
    VkStructureType sType;
    const void *pNext;
    VkFlags64 decompressionMethod;
    uint32_t regionCount;
    const VkDecompressMemoryRegionEXT *pRegions;
} VkDecompressMemoryInfoEXT;

typedef void(VKAPI_PTR *PFN_vkCmdDecompressMemoryEXT)(VkCommandBuffer commands, const VkDecompressMemoryInfoEXT *info);

#endif

#endif

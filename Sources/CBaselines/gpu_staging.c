#include "gpu_staging.h"

#include <errno.h>
#include <string.h>

/// The first of the `allowed` memory types with all `wanted` flags, or -1. The first has the fewest other flags, so it
/// is the one in system memory where there is a choice.
static int find_memory_type(const VkPhysicalDeviceMemoryProperties *memory, uint32_t allowed,
                            VkMemoryPropertyFlags wanted) {
    for (uint32_t type = 0; type < memory->memoryTypeCount; type++) {
        if (!(allowed & (1u << type))) continue;
        if ((memory->memoryTypes[type].propertyFlags & wanted) == wanted) return (int)type;
    }
    return -1;
}

static int staging_memory_type(const VkPhysicalDeviceMemoryProperties *memory, uint32_t allowed) {
    // Coherent, so that nothing needs flushing; cached, because the kernel's copy into write-combined memory is slow
    // wherever it is not strictly sequential.
    const VkMemoryPropertyFlags coherent = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const int cached = find_memory_type(memory, allowed, coherent | VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
    return cached >= 0 ? cached : find_memory_type(memory, allowed, coherent);
}

static int allocate(struct gpu_baselines *baselines, struct gpu_staging *staging) {
    VkMemoryRequirements needs;
    baselines->GetBufferMemoryRequirements(baselines->device, staging->buffer, &needs);
    const int type = staging_memory_type(&baselines->memory, needs.memoryTypeBits);
    if (type < 0) return -EOPNOTSUPP;

    const VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = needs.size,
        .memoryTypeIndex = (uint32_t)type,
    };
    return gpu_status(baselines->AllocateMemory(baselines->device, &info, NULL, &staging->memory));
}

int gpu_staging_open(struct gpu_baselines *baselines, uint64_t size, struct gpu_staging *staging) {
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = size,
        .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
        .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
    };
    *staging = (struct gpu_staging){0};
    int status = gpu_status(baselines->CreateBuffer(baselines->device, &info, NULL, &staging->buffer));
    if (status == 0) status = allocate(baselines, staging);
    if (status != 0) return status;

    status = gpu_status(baselines->BindBufferMemory(baselines->device, staging->buffer, staging->memory, 0));
    if (status != 0) return status;

    void *bytes = NULL;
    status = gpu_status(baselines->MapMemory(baselines->device, staging->memory, 0, VK_WHOLE_SIZE, 0, &bytes));
    if (status != 0) return status;
    staging->bytes = bytes;
    memset(bytes, 0, size);
    return 0;
}

void gpu_staging_close(struct gpu_baselines *baselines, struct gpu_staging *staging) {
    // Freeing memory unmaps it, and both take VK_NULL_HANDLE.
    baselines->DestroyBuffer(baselines->device, staging->buffer, NULL);
    baselines->FreeMemory(baselines->device, staging->memory, NULL);
}

/// The caller's device as the GPU baselines use it: a table of functions and one timeline.
#ifndef CBASELINES_GPU_DEVICE_H
#define CBASELINES_GPU_DEVICE_H

// Types only: the loader is the caller's, and nothing of it is linked.
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "gpu_baselines.h"

#define GPU_DEVICE_FUNCTIONS(each)                                                                                     \
    each(AllocateCommandBuffers) each(AllocateMemory) each(BeginCommandBuffer) each(BindBufferMemory)                  \
    each(CmdCopyBuffer2) each(CmdPipelineBarrier2) each(CreateBuffer) each(CreateCommandPool) each(CreateSemaphore)    \
    each(DestroyBuffer) each(DestroyCommandPool) each(DestroySemaphore) each(EndCommandBuffer) each(FreeMemory)        \
    each(GetBufferMemoryRequirements) each(MapMemory) each(QueueSubmit2) each(ResetCommandPool) each(WaitSemaphores)

struct gpu_baselines {
    VkDevice device;
    VkQueue queue;
    uint32_t queue_family;
    VkPhysicalDeviceMemoryProperties memory;
    /// Signalled with one more than before by each submit, so that one value tells whether all before it are done.
    VkSemaphore timeline;
    uint64_t submitted;
#define GPU_DECLARE(name) PFN_vk##name name;
    GPU_DEVICE_FUNCTIONS(GPU_DECLARE)
#undef GPU_DECLARE
};

/// The errno for a VkResult, as gpu_baselines.h promises it.
int gpu_status(VkResult result);

/// Waits until the submit that signals `value` and all before it are done.
int gpu_await(struct gpu_baselines *baselines, uint64_t value);

#endif

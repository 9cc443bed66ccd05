#include "gpu_device.h"

#include <errno.h>
#include <stdlib.h>

int gpu_status(VkResult result) {
    switch (result) {
    case VK_SUCCESS: return 0;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_MEMORY_MAP_FAILED: return -ENOMEM;
    case VK_ERROR_DEVICE_LOST: return -ENODEV;
    default: return -EREMOTEIO;
    }
}

int gpu_await(struct gpu_baselines *baselines, uint64_t value) {
    const VkSemaphoreWaitInfo wait = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &baselines->timeline,
        .pValues = &value,
    };
    // Without a time limit: a driver whose GPU hangs reports the device as lost.
    return gpu_status(baselines->WaitSemaphores(baselines->device, &wait, UINT64_MAX));
}

static int load_functions(struct gpu_baselines *baselines, const struct gpu_baseline_device *device) {
    const PFN_vkGetInstanceProcAddr instance_function = (PFN_vkGetInstanceProcAddr)device->get_instance_proc_addr;
    const VkInstance instance = device->instance;

    const PFN_vkGetPhysicalDeviceMemoryProperties memory_properties =
        (PFN_vkGetPhysicalDeviceMemoryProperties)instance_function(instance, "vkGetPhysicalDeviceMemoryProperties");
    // The device's own functions skip the loader's dispatch, which a careful program would not pay for either.
    const PFN_vkGetDeviceProcAddr device_function =
        (PFN_vkGetDeviceProcAddr)instance_function(instance, "vkGetDeviceProcAddr");
    if (!memory_properties || !device_function) return -ENOSYS;

    memory_properties(device->physical_device, &baselines->memory);
#define GPU_LOAD(name)                                                                                                 \
    baselines->name = (PFN_vk##name)device_function(baselines->device, "vk" #name);                                    \
    if (!baselines->name) return -ENOSYS;
    GPU_DEVICE_FUNCTIONS(GPU_LOAD)
#undef GPU_LOAD
    return 0;
}

static int create_timeline(struct gpu_baselines *baselines) {
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    return gpu_status(baselines->CreateSemaphore(baselines->device, &info, NULL, &baselines->timeline));
}

int gpu_baseline_open(const struct gpu_baseline_device *device, struct gpu_baselines **out) {
    struct gpu_baselines *baselines = calloc(1, sizeof *baselines);
    if (!baselines) return -ENOMEM;
    baselines->device = device->device;
    baselines->queue = device->queue;
    baselines->queue_family = device->queue_family;

    int status = load_functions(baselines, device);
    if (status == 0) status = create_timeline(baselines);
    if (status == 0) {
        *out = baselines;
    } else {
        free(baselines);
    }
    return status;
}

void gpu_baseline_close(struct gpu_baselines *baselines) {
    if (!baselines) return;
    baselines->DestroySemaphore(baselines->device, baselines->timeline, NULL);
    free(baselines);
}

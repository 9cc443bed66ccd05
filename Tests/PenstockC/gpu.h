// A Vulkan device as a host makes one, for tests that lend theirs to the library: with buffers whose memory they can
// look at, images, timeline semaphores, and a queue under a lock. C11. One device at a time.
#ifndef PENSTOCK_GPU_H
#define PENSTOCK_GPU_H

#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <vulkan/vulkan_core.h>

#define VK(call) CHECK((call) == VK_SUCCESS)

// Of the loader, of the instance, of the device.
#define GPU_LOADER_FUNCTIONS(X) X(CreateInstance)
#define GPU_INSTANCE_FUNCTIONS(X)                                                                                      \
    X(DestroyInstance) X(EnumeratePhysicalDevices) X(GetPhysicalDeviceMemoryProperties) X(GetPhysicalDeviceProperties) \
    X(GetPhysicalDeviceQueueFamilyProperties) X(CreateDevice) X(GetDeviceProcAddr)                                     \
    X(EnumerateDeviceExtensionProperties)
#define GPU_DEVICE_FUNCTIONS(X)                                                                                        \
    X(DestroyDevice) X(GetDeviceQueue) X(DeviceWaitIdle) X(CreateBuffer) X(DestroyBuffer)                              \
    X(GetBufferMemoryRequirements) X(BindBufferMemory) X(CreateImage) X(DestroyImage) X(GetImageMemoryRequirements)    \
    X(BindImageMemory) X(AllocateMemory) X(FreeMemory) X(MapMemory) X(CreateSemaphore) X(DestroySemaphore)             \
    X(SignalSemaphore) X(WaitSemaphores) X(GetSemaphoreCounterValue) X(CreateCommandPool) X(DestroyCommandPool)        \
    X(AllocateCommandBuffers) X(BeginCommandBuffer) X(EndCommandBuffer) X(ResetCommandBuffer) X(CmdFillBuffer)         \
    X(CmdCopyImageToBuffer) X(CmdPipelineBarrier) X(QueueSubmit) X(CreateFence) X(DestroyFence) X(WaitForFences)       \
    X(ResetFences)

static struct {
    void *library;
    PFN_vkGetInstanceProcAddr load;
    VkInstance instance;
    VkPhysicalDevice physical_device;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    VkPhysicalDeviceMemoryProperties memory;
    // Held by whoever submits: how often, and how many do so now.
    pthread_mutex_t mutex;
    int locks, holders;
    // The host's own commands.
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
#define GPU_DECLARE(name) PFN_vk##name name;
    GPU_LOADER_FUNCTIONS(GPU_DECLARE)
    GPU_INSTANCE_FUNCTIONS(GPU_DECLARE)
    GPU_DEVICE_FUNCTIONS(GPU_DECLARE)
} gpu = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static inline void gpu_lock(void *user_data) {
    CHECK(user_data == &gpu);
    pthread_mutex_lock(&gpu.mutex);
    CHECK(++gpu.holders == 1);
    gpu.locks++;
}

static inline void gpu_unlock(void *user_data) {
    CHECK(user_data == &gpu && --gpu.holders == 0);
    pthread_mutex_unlock(&gpu.mutex);
}

static inline void gpu_open(void) {
    gpu.library = dlopen("libvulkan.so.1", RTLD_NOW);
    CHECK(gpu.library);
    *(void **)&gpu.load = dlsym(gpu.library, "vkGetInstanceProcAddr");
    CHECK(gpu.load);
#define GPU_LOAD_FIRST(name) gpu.name = (PFN_vk##name)gpu.load(NULL, "vk" #name);
    GPU_LOADER_FUNCTIONS(GPU_LOAD_FIRST)
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo instance_info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    VK(gpu.CreateInstance(&instance_info, NULL, &gpu.instance));
#define GPU_LOAD_INSTANCE(name) gpu.name = (PFN_vk##name)gpu.load(gpu.instance, "vk" #name);
    GPU_INSTANCE_FUNCTIONS(GPU_LOAD_INSTANCE)
    uint32_t count = 1;
    CHECK(gpu.EnumeratePhysicalDevices(gpu.instance, &count, &gpu.physical_device) >= 0 && count == 1);
    gpu.GetPhysicalDeviceMemoryProperties(gpu.physical_device, &gpu.memory);
    VkQueueFamilyProperties families[16];
    count = 16;
    gpu.GetPhysicalDeviceQueueFamilyProperties(gpu.physical_device, &count, families);
    for (gpu.family = 0; !(families[gpu.family].queueFlags & VK_QUEUE_GRAPHICS_BIT); gpu.family++)
        CHECK(gpu.family < count);
    const float priority = 1;
    const VkDeviceQueueCreateInfo queue_info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueFamilyIndex = gpu.family, .queueCount = 1,
        .pQueuePriorities = &priority};
    VkPhysicalDeviceVulkan13Features features13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .synchronization2 = VK_TRUE};
    VkPhysicalDeviceVulkan12Features features12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &features13,
        .timelineSemaphore = VK_TRUE};
    const VkDeviceCreateInfo device_info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .pNext = &features12, .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue_info};
    VK(gpu.CreateDevice(gpu.physical_device, &device_info, NULL, &gpu.device));
#define GPU_LOAD_DEVICE(name)                                                        \
    gpu.name = (PFN_vk##name)gpu.GetDeviceProcAddr(gpu.device, "vk" #name);          \
    CHECK(gpu.name);
    GPU_DEVICE_FUNCTIONS(GPU_LOAD_DEVICE)
    gpu.GetDeviceQueue(gpu.device, gpu.family, 0, &gpu.queue);
    const VkCommandPoolCreateInfo pool_info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, .queueFamilyIndex = gpu.family,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT};
    VK(gpu.CreateCommandPool(gpu.device, &pool_info, NULL, &gpu.pool));
    const VkCommandBufferAllocateInfo commands_info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, .commandPool = gpu.pool, .commandBufferCount = 1};
    VK(gpu.AllocateCommandBuffers(gpu.device, &commands_info, &gpu.commands));
    const VkFenceCreateInfo fence_info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VK(gpu.CreateFence(gpu.device, &fence_info, NULL, &gpu.fence));
}

// Everything that the library has made of the device must be gone by now: the validation layers say so if it is not.
static inline void gpu_close(void) {
    gpu.DestroyFence(gpu.device, gpu.fence, NULL);
    gpu.DestroyCommandPool(gpu.device, gpu.pool, NULL);
    gpu.DestroyDevice(gpu.device, NULL);
    gpu.DestroyInstance(gpu.instance, NULL);
    // The loader itself stays: leak checkers name what is left by the module that it comes from.
    gpu.library = NULL;
    CHECK(gpu.holders == 0);
}

static inline penstock_device_options gpu_options(void) {
    penstock_device_options options = {
        .struct_size = sizeof options, .queue_family = gpu.family, .instance = gpu.instance,
        .physical_device = gpu.physical_device, .device = gpu.device, .queue = gpu.queue, .lock = gpu_lock,
        .unlock = gpu_unlock, .lock_user_data = &gpu};
    return options;
}

static inline penstock_device gpu_adopt(void) {
    const penstock_device_options options = gpu_options();
    penstock_device device;
    OK(penstock_device_adopt(&options, &device));
    return device;
}

// ---- Buffers and images of the host's

static inline VkDeviceMemory gpu_allocate(VkMemoryRequirements requirements, VkMemoryPropertyFlags flags) {
    uint32_t type = 0;
    while (!(requirements.memoryTypeBits & 1u << type) ||
           (gpu.memory.memoryTypes[type].propertyFlags & flags) != flags) {
        type++;
        CHECK(type < gpu.memory.memoryTypeCount);
    }
    const VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = requirements.size, .memoryTypeIndex = type};
    VkDeviceMemory memory;
    VK(gpu.AllocateMemory(gpu.device, &info, NULL, &memory));
    return memory;
}

// A buffer, its memory as the host sees it, and what it is to the library.
typedef struct gpu_buffer {
    VkBuffer handle;
    VkDeviceMemory memory;
    unsigned char *bytes;
    uint64_t size;
    penstock_buffer adopted;
} gpu_buffer;

// Filled with 0xEE. The library is told of `size` bytes; behind them the buffer has `margin` more.
static inline gpu_buffer gpu_make_buffer(penstock_device device, uint64_t size, uint64_t margin) {
    gpu_buffer buffer = {.size = size};
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = size + margin,
        .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VK(gpu.CreateBuffer(gpu.device, &info, NULL, &buffer.handle));
    VkMemoryRequirements requirements;
    gpu.GetBufferMemoryRequirements(gpu.device, buffer.handle, &requirements);
    buffer.memory = gpu_allocate(
        requirements, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    VK(gpu.BindBufferMemory(gpu.device, buffer.handle, buffer.memory, 0));
    VK(gpu.MapMemory(gpu.device, buffer.memory, 0, VK_WHOLE_SIZE, 0, (void **)&buffer.bytes));
    memset(buffer.bytes, 0xEE, size + margin);
    OK(penstock_buffer_adopt(device, (uint64_t)(uintptr_t)buffer.handle, size, &buffer.adopted));
    return buffer;
}

static inline void gpu_destroy_buffer(gpu_buffer *buffer) {
    if (buffer->adopted.id) OK(penstock_buffer_close(buffer->adopted));
    gpu.DestroyBuffer(gpu.device, buffer->handle, NULL);
    gpu.FreeMemory(gpu.device, buffer->memory, NULL);
}

// Whether all the bytes in a range are one value.
static inline int all_are(const unsigned char *bytes, size_t size, unsigned char value) {
    for (size_t index = 0; index < size; index++)
        if (bytes[index] != value) return 0;
    return 1;
}

typedef struct gpu_image {
    VkImage handle;
    VkDeviceMemory memory;
    penstock_image adopted;
} gpu_image;

static inline gpu_image gpu_make_image(penstock_device device, const penstock_image_description *description) {
    gpu_image image = {0};
#define GPU_OR_ONE(value) ((value) ? (value) : 1)
    const uint32_t dimensions = description->dimensions ? description->dimensions
        : description->depth > 1 ? 3 : description->height > 1 ? 2 : 1;
    const VkImageCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO, .imageType = (VkImageType)(VK_IMAGE_TYPE_1D + dimensions - 1),
        .format = (VkFormat)description->format,
        .extent = {description->width, GPU_OR_ONE(description->height), GPU_OR_ONE(description->depth)},
        .mipLevels = GPU_OR_ONE(description->mip_levels), .arrayLayers = GPU_OR_ONE(description->array_layers),
        .samples = VK_SAMPLE_COUNT_1_BIT, .tiling = VK_IMAGE_TILING_OPTIMAL,
        .usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_SAMPLED_BIT};
    VK(gpu.CreateImage(gpu.device, &info, NULL, &image.handle));
    VkMemoryRequirements requirements;
    gpu.GetImageMemoryRequirements(gpu.device, image.handle, &requirements);
    image.memory = gpu_allocate(requirements, 0);
    VK(gpu.BindImageMemory(gpu.device, image.handle, image.memory, 0));
    OK(penstock_image_adopt(device, (uint64_t)(uintptr_t)image.handle, description, &image.adopted));
    return image;
}

static inline void gpu_destroy_image(gpu_image *image) {
    OK(penstock_image_close(image->adopted));
    gpu.DestroyImage(gpu.device, image->handle, NULL);
    gpu.FreeMemory(gpu.device, image->memory, NULL);
}

// ---- The host's own commands and semaphores

static inline void gpu_begin(void) {
    VK(gpu.ResetCommandBuffer(gpu.commands, 0));
    const VkCommandBufferBeginInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VK(gpu.BeginCommandBuffer(gpu.commands, &info));
}

// Submits what has been recorded, under the lock, and waits for its end.
static inline void gpu_run(void) {
    VK(gpu.EndCommandBuffer(gpu.commands));
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &gpu.commands};
    VK(gpu.ResetFences(gpu.device, 1, &gpu.fence));
    gpu_lock(&gpu);
    const VkResult result = gpu.QueueSubmit(gpu.queue, 1, &info, gpu.fence);
    gpu_unlock(&gpu);
    VK(result);
    VK(gpu.WaitForFences(gpu.device, 1, &gpu.fence, VK_TRUE, UINT64_MAX));
}

// Copies a box of an image, in VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL or GENERAL, into a buffer: to see what is there.
static inline void gpu_look(VkImage image, VkImageLayout layout, VkBufferImageCopy copy, gpu_buffer *into) {
    gpu_begin();
    // What the library has written it has made available to the host, not to this.
    const VkMemoryBarrier before = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT};
    gpu.CmdPipelineBarrier(gpu.commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 1,
                           &before, 0, NULL, 0, NULL);
    gpu.CmdCopyImageToBuffer(gpu.commands, image, layout, into->handle, 1, &copy);
    const VkMemoryBarrier after = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    gpu.CmdPipelineBarrier(gpu.commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &after, 0,
                           NULL, 0, NULL);
    gpu_run();
}

static inline VkSemaphore gpu_make_semaphore(void) {
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    VkSemaphore semaphore;
    VK(gpu.CreateSemaphore(gpu.device, &info, NULL, &semaphore));
    return semaphore;
}

static inline uint64_t gpu_value(VkSemaphore semaphore) {
    uint64_t value = 0;
    VK(gpu.GetSemaphoreCounterValue(gpu.device, semaphore, &value));
    return value;
}

static inline void gpu_signal(VkSemaphore semaphore, uint64_t value) {
    const VkSemaphoreSignalInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = semaphore, .value = value};
    VK(gpu.SignalSemaphore(gpu.device, &info));
}

// The same by the queue, when all that has been submitted to it before is done.
static inline void gpu_signal_by_queue(VkSemaphore semaphore, uint64_t value) {
    const VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &value};
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .pNext = &values, .signalSemaphoreCount = 1,
        .pSignalSemaphores = &semaphore};
    gpu_lock(&gpu);
    const VkResult result = gpu.QueueSubmit(gpu.queue, 1, &info, VK_NULL_HANDLE);
    gpu_unlock(&gpu);
    VK(result);
}

// Until the semaphore has that value.
static inline void gpu_await(VkSemaphore semaphore, uint64_t value) {
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = 1, .pSemaphores = &semaphore,
        .pValues = &value};
    VK(gpu.WaitSemaphores(gpu.device, &info, UINT64_MAX));
}

static inline penstock_point gpu_point(VkSemaphore semaphore, uint64_t value) {
    const penstock_point point = {(uint64_t)(uintptr_t)semaphore, value};
    return point;
}

#endif
